/* SPDX-License-Identifier: MIT
 *
 * Reading an image: its segments as they are mapped, its dynamic section, and, when a question needs
 * them, the section headers and .symtab of the file behind it.
 *
 * Source: System V gABI, chapters 4 and 5.
 */
#include "base/bytes.h"
#include "image/elf/internal.h"

#include <errno.h>
#include <string.h>

/* Never through a view: a mapping can be there and still not be readable (a file that was truncated, a
 * guard page inside a stack), or go away under a thread that closes a library. */
bool rdf_images_read(const struct rdf_images *images, uint64_t addr, void *ret_bytes, size_t len_bytes)
{
    return len_bytes && addr <= UINT64_MAX - len_bytes &&
           rdf_maps_allow(&images->maps, addr, len_bytes, RDF_PROT_READ) &&
           images->space->ops->read(images->space, addr, ret_bytes, len_bytes) == 0;
}

/* How much of [addr, addr+len) can be read from its start on without a gap. */
static uint64_t readable_prefix(const struct rdf_maps *maps, uint64_t addr, uint64_t len_bytes)
{
    const struct rdf_map *map = rdf_maps_find(maps, addr);
    uint64_t at = addr;
    while (map && map < maps->map + maps->count && map->start <= at && at < map->end &&
           (map->prot & RDF_PROT_READ) && at - addr < len_bytes) {
        at = map->end;
        map++;
    }
    uint64_t got = at - addr;
    return got < len_bytes ? got : len_bytes;
}

/* The program, what was loaded with it, and the kernel's own object are there as long as the process. What
 * dlopen brought may be unmapped by another thread between two instructions of this one; holding the loader's
 * lock against that would mean calling what may be what is being redefined. */
static bool stays(struct rdf_images *images, const struct rdf_image *image)
{
    if (image->is_vdso || image->is_in_global || image == images->image[0])
        return true;
    rdf_images_find_scope(images);
    return image->is_in_global;
}

const void *rdf_images_view(struct rdf_images *images, uint64_t addr, size_t len_bytes)
{
    const struct rdf_image *image = NULL;
    if (addr < images->stays_from || addr >= images->stays_to)
        image = rdf_images_at(images, addr);
    if (image && stays(images, image))
        rdf_image_pages(image, addr, &images->stays_from, &images->stays_to);
    if (addr < images->stays_from || addr >= images->stays_to || len_bytes > images->stays_to - addr)
        return NULL;
    return images->space->ops->view(images->space, addr, len_bytes);
}

static void open_file(struct rdf_images *images, struct rdf_image *image);

/* The segment as it lies in the file, which nobody unloads: the pages of both are the same ones, but for what
 * was written to code since. Empty where parts of it may have been written to otherwise. */
static struct rdf_span segment_of_file(struct rdf_images *images, struct rdf_image *image,
                                       const struct rdf_segment *segment, uint64_t len)
{
    const struct rdf_map *map = rdf_maps_find(&images->maps, segment->start);
    uint64_t off;
    if (segment->flags & PF_W || !map || map->prot & RDF_PROT_WRITE || map->ino != image->ino ||
        map->end - segment->start < len || !rdf_images_file_off(images, segment->start, &off))
        return (struct rdf_span){NULL, 0};
    open_file(images, image);
    return rdf_span_slice(image->file_is_mapped ? image->file : (struct rdf_span){NULL, 0}, off, len);
}

/* In place where that can be done; else in the file, or one copy of all. */
static struct rdf_span segment_bytes(struct rdf_images *images, struct rdf_image *image,
                                     struct rdf_segment *segment)
{
    if (segment->tried)
        return segment->bytes;
    segment->tried = true;
    uint64_t len = readable_prefix(&images->maps, segment->start, segment->file_end - segment->start);
    if (!len || len > SIZE_MAX / 4)
        return segment->bytes;
    bool is_there = stays(images, image);
    const uint8_t *data = is_there ? images->space->ops->view(images->space, segment->start, (size_t)len)
                                   : segment_of_file(images, image, segment, len).data;
    segment->is_lent = !data || !is_there;
    segment->is_of_file = data && !is_there;
    if (!data)
        data = rdf_object_bytes(images, segment->start, (size_t)len);
    if (data)
        segment->bytes = (struct rdf_span){data, (size_t)len};
    return segment->bytes;
}

void rdf_images_drop_lent(struct rdf_images *images)
{
    for (size_t i = 0; i < images->count; i++) {
        struct rdf_image *image = images->image[i];
        bool has_lent = false;
        for (size_t j = 0; j < image->segment_count; j++) {
            struct rdf_segment *segment = &image->segment[j];
            has_lent |= segment->is_lent;
            if (segment->is_lent) {
                segment->tried = segment->is_lent = false;
                segment->bytes = (struct rdf_span){NULL, 0};
            }
        }
        if (!has_lent)
            continue;
        image->dynsym_tried = false;
        image->dynsym = (struct rdf_symbols){0};
        image->unwind = (struct rdf_unwind){0};
        image->go_asked = image->is_go = image->go_refused = false;
        image->go = NULL;
    }
    rdf_arena_free(&images->copies);
    images->gone = NULL;
}

const struct rdf_segment *rdf_image_segment(const struct rdf_image *image, uint64_t addr)
{
    for (size_t i = 0; i < image->segment_count; i++)
        if (addr >= image->segment[i].start && addr < image->segment[i].end)
            return &image->segment[i];
    return NULL;
}

bool rdf_image_is_code(const struct rdf_image *image, uint64_t addr)
{
    const struct rdf_segment *segment = rdf_image_segment(image, addr);
    return segment && (segment->flags & PF_X);
}

struct rdf_span rdf_image_bytes(struct rdf_images *images, struct rdf_image *image, uint64_t addr,
                                uint64_t len_bytes)
{
    struct rdf_segment *segment = (struct rdf_segment *)rdf_image_segment(image, addr);
    if (!segment)
        return (struct rdf_span){NULL, 0};
    return rdf_span_slice(segment_bytes(images, image, segment), addr - segment->start, len_bytes);
}

struct rdf_span rdf_image_tail(struct rdf_images *images, struct rdf_image *image, uint64_t addr)
{
    struct rdf_segment *segment = (struct rdf_segment *)rdf_image_segment(image, addr);
    if (!segment)
        return (struct rdf_span){NULL, 0};
    struct rdf_span bytes = segment_bytes(images, image, segment);
    uint64_t off = addr - segment->start;
    return off < bytes.len_bytes ? rdf_span_slice(bytes, off, bytes.len_bytes - off)
                                 : (struct rdf_span){NULL, 0};
}

const void *rdf_images_bytes(struct rdf_images *images, uint64_t addr, size_t len_bytes)
{
    struct rdf_image *image = rdf_images_at(images, addr);
    const void *bytes = image ? rdf_image_bytes(images, image, addr, len_bytes).data : NULL;
    if (bytes && rdf_image_segment(image, addr)->is_of_file)
        bytes = NULL;
    return bytes ? bytes : rdf_object_bytes(images, addr, len_bytes);
}

const void *rdf_images_loaded_bytes(struct rdf_images *images, uint64_t addr, size_t len_bytes)
{
    struct rdf_image *image = rdf_images_at(images, addr);
    const void *bytes = image ? rdf_image_bytes(images, image, addr, len_bytes).data : NULL;
    return bytes ? bytes : rdf_object_bytes(images, addr, len_bytes);
}

/* glibc adds the bias to the addresses in a writable dynamic section (dl_relocate_ld); musl, and the
 * read-only ones of the vDSO, keep those of the file. */
static uint64_t runtime_address(const struct rdf_image *image, uint64_t value)
{
    return value >= image->object.start && value < image->object.end ? value : value + image->object.bias;
}

/* What is asked of every object, to find out which ones stay. One that has gone is of no interest, unless it
 * is the one that the question is about (rdf_image_expect); to fail otherwise is to know too little of any.
 */
static bool read_early(struct rdf_images *images, struct rdf_image *image, uint64_t addr, void *ret,
                       size_t len)
{
    if (!rdf_maps_allow(&images->maps, addr, len, RDF_PROT_READ))
        return false;
    int status = images->space->ops->read(images->space, addr, ret, len);
    image->has_gone |= status == -EFAULT;
    if (status < 0 && status != -EFAULT)
        rdf_images_note_gone(images, addr);
    return status == 0;
}

void rdf_image_expect(struct rdf_images *images, const struct rdf_image *image)
{
    if (image->has_gone)
        rdf_images_note_gone(images, image->object.start);
}

/* A copy of its own, of every object. */
static struct rdf_span dynamic_section(struct rdf_images *images, struct rdf_image *image)
{
    enum { ENTRIES_MAX = 4096 }; /* real ones have about 40 */
    const struct rdf_segment *segment = rdf_image_segment(image, image->dynamic_addr);
    if (!segment || image->dynamic_addr >= segment->file_end)
        return (struct rdf_span){NULL, 0};
    uint64_t len = segment->file_end - image->dynamic_addr;
    len = image->dynamic_bytes < len ? image->dynamic_bytes : len;
    len = readable_prefix(&images->maps, image->dynamic_addr, len);
    len = len < ENTRIES_MAX * sizeof(Elf64_Dyn) ? len : ENTRIES_MAX * sizeof(Elf64_Dyn);
    uint8_t *copy = len ? rdf_arena_alloc(images->arena, (size_t)len) : NULL;
    images->out_of_memory |= len && !copy;
    return copy && read_early(images, image, image->dynamic_addr, copy, (size_t)len)
               ? (struct rdf_span){copy, (size_t)len}
               : (struct rdf_span){NULL, 0};
}

const struct rdf_dynamic *rdf_image_dynamic(struct rdf_images *images, struct rdf_image *image)
{
    struct rdf_dynamic *dynamic = &image->dynamic;
    if (image->dynamic_tried)
        return dynamic;
    image->dynamic_tried = true;
    if (!image->dynamic_addr)
        return dynamic;
    struct rdf_span section = dynamic_section(images, image);
    size_t count = 0;
    for (; (count + 1) * sizeof(Elf64_Dyn) <= section.len_bytes; count++) {
        Elf64_Dyn entry;
        memcpy(&entry, section.data + count * sizeof entry, sizeof entry);
        uint64_t value = entry.d_un.d_val;
        uint64_t addr = runtime_address(image, value);
        switch (entry.d_tag) {
        case DT_SYMTAB: dynamic->symtab = addr; break;
        case DT_STRTAB: dynamic->strtab = addr; break;
        case DT_STRSZ: dynamic->strtab_bytes = value; break;
        case DT_HASH: dynamic->hash = addr; break;
        case DT_GNU_HASH: dynamic->gnu_hash = addr; break;
        case DT_VERSYM: dynamic->versym = addr; break;
        case DT_VERDEF: dynamic->verdef = addr; break;
        case DT_VERDEFNUM: dynamic->verdef_count = value; break;
        case DT_VERNEED: dynamic->verneed = addr; break;
        case DT_VERNEEDNUM: dynamic->verneed_count = value; break;
        case DT_JMPREL: dynamic->jmprel = addr; break;
        case DT_PLTRELSZ: dynamic->jmprel_bytes = value; break;
        case DT_RELA: dynamic->rela = addr; break;
        case DT_RELASZ: dynamic->rela_bytes = value; break;
        case DT_DEBUG: dynamic->debug = value; break;
        case DT_SONAME: dynamic->soname = value; break;
        default: break;
        }
        if (entry.d_tag == DT_NULL)
            break;
    }
    dynamic->entries = rdf_span_slice(section, 0, count * sizeof(Elf64_Dyn));
    return dynamic;
}

static struct rdf_span dynamic_strings(struct rdf_images *images, struct rdf_image *image)
{
    const struct rdf_dynamic *dynamic = rdf_image_dynamic(images, image);
    struct rdf_span tail = {NULL, 0};
    if (dynamic->strtab)
        tail = rdf_image_tail(images, image, dynamic->strtab);
    if (dynamic->strtab_bytes && dynamic->strtab_bytes < tail.len_bytes)
        tail.len_bytes = (size_t)dynamic->strtab_bytes;
    return tail;
}

const char *rdf_image_dynstr(struct rdf_images *images, struct rdf_image *image, uint64_t off)
{
    return rdf_span_string(dynamic_strings(images, image), off);
}

/* Asked of every object, also of those of which nothing else is: by itself, not with its whole segment. */
const char *rdf_image_soname(struct rdf_images *images, struct rdf_image *image)
{
    enum { NAME_MAX_BYTES = 256 };
    const struct rdf_dynamic *dynamic = rdf_image_dynamic(images, image);
    const struct rdf_segment *segment = rdf_image_segment(image, dynamic->strtab + dynamic->soname);
    if (image->soname_tried || !dynamic->soname || !segment || dynamic->strtab_bytes <= dynamic->soname)
        return image->soname;
    image->soname_tried = true;
    char name[NAME_MAX_BYTES];
    uint64_t addr = dynamic->strtab + dynamic->soname;
    uint64_t len = dynamic->strtab_bytes - dynamic->soname;
    len = len < segment->end - addr ? len : segment->end - addr;
    len = len < sizeof name ? len : sizeof name;
    if (!read_early(images, image, addr, name, (size_t)len))
        return NULL;
    const char *text = rdf_span_string((struct rdf_span){(const uint8_t *)name, (size_t)len}, 0);
    if (!text || !*text)
        return NULL;
    image->soname = rdf_arena_copy(images->arena, text, rdf_text_len(text));
    images->out_of_memory |= !image->soname;
    return image->soname;
}

static struct rdf_span vdso_file(struct rdf_images *images, struct rdf_image *image)
{
    const struct rdf_map *map = rdf_maps_find(&images->maps, image->object.start);
    struct rdf_segment whole = {.start = image->object.start,
                                .file_end = map ? map->end : image->object.start};
    return segment_bytes(images, image, &whole);
}

/* The file, if it is the one that is mapped: the operating system compares device and inode, and the
 * headers must agree, since a file can be overwritten in place. */
static void open_file(struct rdf_images *images, struct rdf_image *image)
{
    if (image->file_tried)
        return;
    image->file_tried = true;
    Elf64_Ehdr mapped, header;
    if (!rdf_images_read(images, image->object.start, &mapped, sizeof mapped))
        return;
    if (image->is_vdso) { /* the whole file is mapped, its section headers behind the segment */
        image->file = vdso_file(images, image);
    } else if (image->ino && image->object.path[0] == '/') {
        struct rdf_span file = {NULL, 0};
        if (images->space->ops->open_file(images->space, image->object.path, image->dev, image->ino, &file) !=
            0)
            return;
        image->file = file;
        image->file_is_open = true;
    }
    struct rdf_span file = image->file;
    if (file.len_bytes < sizeof header)
        return;
    memcpy(&header, file.data, sizeof header);
    image->file_is_mapped = rdf_bytes_equal(&header, &mapped, sizeof header);
    if (!image->file_is_mapped || header.e_shentsize != sizeof(Elf64_Shdr))
        return;
    uint64_t count = header.e_shnum, names = header.e_shstrndx;
    struct rdf_span first = rdf_span_slice(file, header.e_shoff, sizeof(Elf64_Shdr));
    if (!header.e_shoff || !first.data)
        return;
    Elf64_Shdr section;
    memcpy(&section, first.data, sizeof section);
    if (!count) /* gABI: more than SHN_LORESERVE sections: the number is in the first one */
        count = section.sh_size;
    if (names == SHN_XINDEX)
        names = section.sh_link;
    if (count > file.len_bytes / sizeof section)
        return;
    image->sections = rdf_span_slice(file, header.e_shoff, count * sizeof section);
    struct rdf_span at = rdf_span_slice(image->sections, names * sizeof section, sizeof section);
    if (!at.data)
        return;
    memcpy(&section, at.data, sizeof section);
    image->section_names = rdf_span_slice(file, section.sh_offset, section.sh_size);
}

static size_t section_count(struct rdf_images *images, struct rdf_image *image)
{
    open_file(images, image);
    return image->sections.len_bytes / sizeof(Elf64_Shdr);
}

bool rdf_image_section(struct rdf_images *images, struct rdf_image *image, size_t index, Elf64_Shdr *ret,
                       const char **ret_name)
{
    if (index >= section_count(images, image))
        return false;
    memcpy(ret, image->sections.data + index * sizeof *ret, sizeof *ret);
    if (ret_name) {
        const char *name = rdf_span_string(image->section_names, ret->sh_name);
        *ret_name = name ? name : "";
    }
    return true;
}

bool rdf_image_section_at(struct rdf_images *images, struct rdf_image *image, uint64_t addr, Elf64_Shdr *ret,
                          const char **ret_name)
{
    uint64_t vaddr = addr - image->object.bias;
    size_t count = section_count(images, image);
    for (size_t i = 1; i < count; i++) {
        Elf64_Shdr section;
        memcpy(&section, image->sections.data + i * sizeof section, sizeof section);
        if (!(section.sh_flags & SHF_ALLOC) || (section.sh_flags & SHF_TLS) || vaddr < section.sh_addr ||
            vaddr - section.sh_addr >= section.sh_size)
            continue;
        return rdf_image_section(images, image, i, ret, ret_name);
    }
    return false;
}

struct rdf_symbols *rdf_image_symtab(struct rdf_images *images, struct rdf_image *image)
{
    struct rdf_symbols *symtab = &image->symtab;
    if (image->symtab_tried)
        return symtab;
    image->symtab_tried = true;
    size_t count = section_count(images, image);
    for (size_t i = 1; i < count; i++) {
        Elf64_Shdr table, strings;
        if (!rdf_image_section(images, image, i, &table, NULL) || table.sh_type != SHT_SYMTAB ||
            table.sh_entsize != sizeof(Elf64_Sym) ||
            !rdf_image_section(images, image, table.sh_link, &strings, NULL))
            continue;
        symtab->sym = rdf_span_slice(image->file, table.sh_offset, table.sh_size);
        symtab->str = rdf_span_slice(image->file, strings.sh_offset, strings.sh_size);
        uint64_t symbols = symtab->sym.len_bytes / sizeof(Elf64_Sym);
        symtab->count = symbols > UINT32_MAX ? UINT32_MAX : (uint32_t)symbols;
        break;
    }
    return symtab;
}

bool rdf_image_has_symbols(struct rdf_images *images, struct rdf_image *image)
{
    return rdf_image_symtab(images, image)->count > 0;
}

void rdf_image_lend_symbols(struct rdf_images *images, struct rdf_image *image, struct rdf_span symbols,
                            struct rdf_span names)
{
    struct rdf_symbols *symtab = rdf_image_symtab(images, image);
    uint64_t count = symbols.len_bytes / sizeof(Elf64_Sym);
    if (symtab->count)
        return;
    symtab->sym = symbols;
    symtab->str = names;
    symtab->count = count > UINT32_MAX ? UINT32_MAX : (uint32_t)count;
}

/* DT_GNU_HASH stores no number of symbols: the last chain's end is the end of the table. */
static uint64_t gnu_hash_symbols(struct rdf_span hash)
{
    uint32_t buckets, first, bloom_words;
    if (!rdf_span_u32(hash, 0, &buckets) || !rdf_span_u32(hash, 4, &first) ||
        !rdf_span_u32(hash, 8, &bloom_words))
        return 0;
    uint64_t bucket_off = 16 + (uint64_t)bloom_words * 8;
    struct rdf_span bucket = rdf_span_slice(hash, bucket_off, (uint64_t)buckets * 4);
    uint32_t last = 0;
    for (uint32_t i = 0; bucket.data && i < buckets; i++) {
        uint32_t start;
        memcpy(&start, bucket.data + (size_t)i * 4, sizeof start);
        last = start > last ? start : last;
    }
    if (last < first)
        return first;
    uint64_t chain_off = bucket_off + (uint64_t)buckets * 4;
    for (uint64_t i = last; i < UINT32_MAX; i++) {
        uint32_t word;
        if (!rdf_span_u32(hash, chain_off + (i - first) * 4, &word))
            return i;
        if (word & 1)
            return i + 1;
    }
    return 0;
}

static uint64_t section_symbols(struct rdf_images *images, struct rdf_image *image)
{
    Elf64_Shdr section;
    for (size_t i = 1; rdf_image_section(images, image, i, &section, NULL); i++)
        if (section.sh_type == SHT_DYNSYM && section.sh_addr + image->object.bias == image->dynamic.symtab)
            return section.sh_size / sizeof(Elf64_Sym);
    return 0;
}

struct rdf_symbols *rdf_image_dynsym(struct rdf_images *images, struct rdf_image *image)
{
    struct rdf_symbols *dynsym = &image->dynsym;
    if (image->dynsym_tried)
        return dynsym;
    image->dynsym_tried = true;
    const struct rdf_dynamic *dynamic = rdf_image_dynamic(images, image);
    if (!dynamic->symtab)
        return dynsym;
    struct rdf_span tail = rdf_image_tail(images, image, dynamic->symtab);
    uint64_t count = 0;
    uint32_t chains;
    if (dynamic->hash && rdf_span_u32(rdf_image_tail(images, image, dynamic->hash), 4, &chains))
        count = chains; /* gABI: nchain equals the number of symbols */
    else if (dynamic->gnu_hash)
        count = gnu_hash_symbols(rdf_image_tail(images, image, dynamic->gnu_hash));
    if (!count)
        count = section_symbols(images, image);
    if (count > tail.len_bytes / sizeof(Elf64_Sym))
        count = tail.len_bytes / sizeof(Elf64_Sym);
    dynsym->sym = rdf_span_slice(tail, 0, count * sizeof(Elf64_Sym));
    dynsym->str = dynamic_strings(images, image);
    dynsym->count = (uint32_t)count;
    if (dynamic->versym)
        dynsym->versym = rdf_image_bytes(images, image, dynamic->versym, count * sizeof(Elf64_Half));
    return dynsym;
}

const char *rdf_image_short_name(const struct rdf_image *image)
{
    return rdf_text_base(image->object.path);
}
