/* SPDX-License-Identifier: MIT
 *
 * What the files of this room share. Tables are spans of the mapped image or of the file behind it;
 * nothing here is trusted: every number is a claim that the bounds of its span must confirm.
 */
#ifndef RDF_IMAGE_ELF_INTERNAL_H
#define RDF_IMAGE_ELF_INTERNAL_H

#include <elf.h>

#include "image/object.h"
#include "image/names.h"

/* FreeBSD's header has it by another name. */
#ifndef R_X86_64_JUMP_SLOT
#define R_X86_64_JUMP_SLOT R_X86_64_JMP_SLOT
#endif

enum {
    RDF_IMAGE_PHDRS_MAX = 128,  /* program headers an image may have; real ones have about 12 */
    RDF_IMAGE_PAGE_BYTES = 4096 /* the smallest page of any supported CPU */
};

/* A PT_LOAD, at its run-time addresses. */
struct rdf_segment {
    uint64_t start;
    uint64_t end;      /* behind the last byte in memory */
    uint64_t file_end; /* behind the last byte that comes from the file */
    uint32_t flags;    /* PF_R, PF_W, PF_X */
    bool tried;
    bool is_lent;    /* … a copy, or in the file; when that is closed, as if it had never been asked for */
    bool is_of_file; /* … the latter */
    struct rdf_span bytes; /* [start, file_end) as far as readable; fetched when first asked for */
};

/* The dynamic section; addresses are run-time addresses, 0 when absent. */
struct rdf_dynamic {
    struct rdf_span entries;
    uint64_t symtab, strtab, strtab_bytes;
    uint64_t hash, gnu_hash;
    uint64_t versym, verdef, verdef_count, verneed, verneed_count;
    uint64_t jmprel, jmprel_bytes, rela, rela_bytes;
    uint64_t debug;
    uint64_t soname; /* offset in strtab; 0 when absent */
};

/* One symbol table: .dynsym in memory or .symtab in the file. */
struct rdf_symbols {
    struct rdf_span sym; /* whole Elf64_Sym entries */
    struct rdf_span str;
    struct rdf_span versym; /* .dynsym only; may be empty */
    uint32_t count;
    uint32_t questions; /* asked by address so far: the index is built when it pays */
    uint32_t *by_addr;  /* indices of code symbols by ascending address; null until built */
    uint32_t by_addr_count;
    /* With it: of each of those the first from it on that is a function, and of those or untyped global ones.
     */
    uint32_t *next_function, *next_global;
};

struct rdf_symbol {
    uint64_t addr;
    uint64_t size_bytes;
    const char *name; /* in the table's strings: valid until rdf_images_free */
    uint32_t index;
    uint8_t type;
    uint8_t bind;
    bool is_hidden_version; /* VERSYM_HIDDEN: only a reference that names the version gets it */
};

struct rdf_unwind {
    bool tried;
    uint64_t base;         /* of DW_EH_PE_datarel: the start of .eh_frame_hdr */
    struct rdf_span table; /* the binary search table; empty: none */
    uint64_t table_addr;
    uint64_t count;
    uint64_t eh_frame; /* 0: none */
    uint8_t encoding;
    uint8_t value_bytes;
};

struct rdf_image {
    struct rdf_object object;
    uint64_t dev, ino;
    uint16_t machine, type;
    bool is_vdso;
    bool has_interp;
    bool is_linked;    /* in the loader's list of the main namespace */
    bool is_in_global; /* in the global scope */
    struct rdf_segment *segment;
    size_t segment_count;
    uint64_t dynamic_addr, dynamic_bytes;
    uint64_t eh_hdr_addr, eh_hdr_bytes;

    /* Filled when first asked for. */
    bool dynamic_tried, soname_tried, dynsym_tried, file_tried, symtab_tried, irelative_tried;
    bool has_gone;       /* it was not there any more when something was asked of it */
    bool file_is_open;   /* to be closed */
    bool file_is_mapped; /* its header is what lies at the start */
    bool has_irelative;
    struct rdf_dynamic dynamic;
    const char *soname;
    struct rdf_span file;     /* empty: unreadable, or not what is mapped */
    struct rdf_span sections; /* whole Elf64_Shdr entries */
    struct rdf_span section_names;
    struct rdf_symbols dynsym, symtab;
    struct rdf_unwind unwind;
    bool go_asked, is_go, go_refused;
    struct rdf_go *go; /* null: not Go, not asked for yet, or refused */
};

/* elf.c: reading */

/* It is this object that is asked about: images->gone is set where it has gone. */
void rdf_image_expect(struct rdf_images *images, const struct rdf_image *image);
/* Forget what lies in copies or files, and give the copies back. */
void rdf_images_drop_lent(struct rdf_images *images);
/* Copy out of the space; false when a byte is not readable. */
bool rdf_images_read(const struct rdf_images *images, uint64_t addr, void *ret_bytes, size_t len_bytes);
/* Bytes of the image as it was loaded, or as they are now; empty when not wholly inside one segment. */
struct rdf_span rdf_image_bytes(struct rdf_images *images, struct rdf_image *image, uint64_t addr,
                                uint64_t len_bytes);
/* From `addr` to the end of its segment. */
struct rdf_span rdf_image_tail(struct rdf_images *images, struct rdf_image *image, uint64_t addr);
const struct rdf_segment *rdf_image_segment(const struct rdf_image *image, uint64_t addr); /* or null */
bool rdf_image_is_code(const struct rdf_image *image, uint64_t addr); /* in an executable segment */
const struct rdf_dynamic *rdf_image_dynamic(struct rdf_images *images, struct rdf_image *image);
const char *rdf_image_dynstr(struct rdf_images *images, struct rdf_image *image, uint64_t off); /* or null */
const char *rdf_image_soname(struct rdf_images *images, struct rdf_image *image);               /* or null */
/* The section that holds run-time address `addr`; false when the file does not tell. */
bool rdf_image_section_at(struct rdf_images *images, struct rdf_image *image, uint64_t addr, Elf64_Shdr *ret,
                          const char **ret_name);
bool rdf_image_section(struct rdf_images *images, struct rdf_image *image, size_t index, Elf64_Shdr *ret,
                       const char **ret_name);
struct rdf_symbols *rdf_image_dynsym(struct rdf_images *images, struct rdf_image *image);
struct rdf_symbols *rdf_image_symtab(struct rdf_images *images, struct rdf_image *image);
const char *rdf_image_short_name(const struct rdf_image *image); /* behind the last slash */

/* images.c: the pages of the segment that holds `addr`; false: none does */
bool rdf_image_pages(const struct rdf_image *image, uint64_t addr, uint64_t *ret_start, uint64_t *ret_end);
/* The global scope (System V gABI, "Dynamic Linking"): the program and what it needs */
void rdf_images_find_scope(struct rdf_images *images);
/* The object that `by` means with DT_NEEDED `needed`; null when it is not loaded. */
struct rdf_image *rdf_images_needed(struct rdf_images *images, const char *needed,
                                    const struct rdf_image *by);

/* symbol.c */
bool rdf_symbols_raw(const struct rdf_symbols *symbols, uint32_t index, Elf64_Sym *ret);
/* Whether the symbol is defined code: FUNC, GNU_IFUNC, or NOTYPE in an executable segment. */
bool rdf_symbol_is_function(const struct rdf_image *image, const struct rdf_symbols *symbols,
                            const Elf64_Sym *raw);
bool rdf_symbol_is_named(const struct rdf_symbols *symbols, const Elf64_Sym *raw, const char *name,
                         size_t name_bytes);
void rdf_symbol_fill(const struct rdf_image *image, const struct rdf_symbols *symbols, uint32_t index,
                     const Elf64_Sym *raw, struct rdf_symbol *ret);

/* What a table knows around one address. Addresses are UINT64_MAX when there is none. */
struct rdf_near {
    bool has_at;
    struct rdf_symbol at;   /* the best function symbol that starts there */
    uint64_t longest_bytes; /* the longest size of those that start there */
    bool is_ifunc;          /* one of them is GNU_IFUNC … */
    bool is_func;           /* … and one a FUNC that is not local */
    bool is_data;           /* what an OBJECT is, or holds */
    bool has_around;
    struct rdf_symbol around; /* a function that starts before and, by its size, holds the address */
    uint64_t next_function;   /* the next FUNC or GNU_IFUNC behind the address */
    uint64_t next_global;     /* the same, untyped symbols that are not local included */
    uint64_t next_any;        /* the next symbol of any sort in code */
};
/* Make by_addr now; false when there is no memory for it. */
bool rdf_symbols_sort(struct rdf_images *images, const struct rdf_image *image, struct rdf_symbols *symbols);
void rdf_symbols_near(struct rdf_images *images, struct rdf_image *image, struct rdf_symbols *symbols,
                      uint64_t addr, struct rdf_near *ret);
/* Fold `other` (of another table of the same image) into `near`. */
void rdf_near_merge(struct rdf_near *near, const struct rdf_near *other);

/* The exported function `name`: its default version when `version` is null, else that version. */
bool rdf_image_exported(struct rdf_images *images, struct rdf_image *image, const char *name,
                        size_t name_bytes, const char *version, size_t version_bytes, struct rdf_symbol *ret);
/* The version that an exported symbol has, or an undefined one asks for; null when none. */
const char *rdf_image_version(struct rdf_images *images, struct rdf_image *image, uint32_t symbol_index);
const char *rdf_image_version_needed(struct rdf_images *images, struct rdf_image *image,
                                     uint32_t symbol_index);

/* unwind.c */
struct rdf_range {
    uint64_t start;
    uint64_t end;
};
bool rdf_unwind_find(struct rdf_images *images, struct rdf_image *image, uint64_t addr,
                     struct rdf_range *ret);
/* The first start at or behind `addr`; UINT64_MAX when there is none. */
uint64_t rdf_unwind_next(struct rdf_images *images, struct rdf_image *image, uint64_t addr);

/* function.c: the symbols around an address, of both tables. */
void rdf_image_near(struct rdf_images *images, struct rdf_image *image, uint64_t addr, struct rdf_near *ret);

/* Newer than some C libraries' headers. */
#ifndef R_AARCH64_IRELATIVE
#define R_AARCH64_IRELATIVE 1032
#endif
#ifndef R_RISCV_IRELATIVE
#define R_RISCV_IRELATIVE 58
#endif

/* stub.c: one stub of a procedure linkage table. */
struct rdf_stub {
    uint64_t end;   /* behind the jump */
    uint64_t slot;  /* where the address is kept; 0: a lazy half that pushes an index */
    uint32_t index; /* of the relocation in DT_JMPREL, for a lazy half */
};
bool rdf_stub_read(struct rdf_images *images, const struct rdf_image *image, uint64_t addr,
                   struct rdf_stub *ret);
/* The head of the table, where slots lead that are not bound yet. */
bool rdf_stub_is_plt_head(struct rdf_images *images, const struct rdf_image *image, uint64_t addr);
bool rdf_stub_fills_slot(const struct rdf_image *image, uint64_t rela_info);
bool rdf_stub_is_irelative(const struct rdf_image *image, uint64_t rela_info);

/* follow.c: as rdf_images_follow; `is_ifunc`: what `addr` is, known from its symbol. */
enum rdf_follow_as { RDF_FOLLOW_ANY, RDF_FOLLOW_FUNC, RDF_FOLLOW_IFUNC };
redefine_status rdf_images_follow_as(struct rdf_images *images, uint64_t addr, enum rdf_follow_as as,
                                     uint64_t *ret_addr, struct rdf_error *err);
bool rdf_image_in_plt(struct rdf_images *images, struct rdf_image *image, uint64_t addr, bool *ret_known);

#endif
