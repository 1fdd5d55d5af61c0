// SPDX-License-Identifier: MIT

package redefine

// #cgo CFLAGS: -I${SRCDIR}/../include -D_GNU_SOURCE
// #cgo amd64 LDFLAGS: -L${SRCDIR}/../build -l:libredefine.a -lZydis
// #cgo arm64 LDFLAGS: -L${SRCDIR}/../build-aarch64 -L${SRCDIR}/../build -l:libredefine.a
// #if !__has_include(<redefine/go.h>)
// #error "no C library beside this folder (go mod vendor copies Go's files alone): set CGO_CFLAGS=-I.../include CGO_LDFLAGS=-L.../build"
// #elif !__has_include(<../build/libredefine.a>) && !__has_include(<../build-aarch64/libredefine.a>) && \
//       !__has_include(<../lib/libredefine.a>)
// #error "libredefine.a is not built: run make in the folder above (make aarch64 for an arm64 machine, on another)"
// #else
// #include <redefine/go.h>
// #include <redefine/redefine.h>
// #include <link.h>
// #include <stdlib.h>
//
// static int count_modules(struct dl_phdr_info *info, size_t len_bytes, void *ret_count)
// {
//     *(unsigned long long *)ret_count = info->dlpi_adds + info->dlpi_subs;
//     return 1;
// }
//
// static unsigned long long modules(void)
// {
//     unsigned long long count = 0;
//     dl_iterate_phdr(count_modules, &count);
//     return count;
// }
// #endif
import "C"

import (
	"runtime/debug"
	"strconv"
	"strings"
	"unsafe"
)

// The kinds that the C library reports.
const (
	// ErrInvalid is something that is not the entry of a Go function.
	ErrInvalid Kind = C.REDEFINE_EINVAL
	// ErrNotFound is a name that no function has.
	ErrNotFound Kind = C.REDEFINE_ENOTFOUND
	// ErrAmbiguous is a name that several functions have.
	ErrAmbiguous Kind = C.REDEFINE_EAMBIGUOUS
	// ErrInlined is a function of which callers have a copy: they would not notice. The error's Sites say
	// where, its text says with which flag to build.
	ErrInlined Kind = C.REDEFINE_EINLINED
	// ErrFolded is a function so small that its calls were computed away: nobody calls it.
	ErrFolded Kind = C.REDEFINE_EFOLDED
	// ErrSignature is a replacement with another signature, or a receiver with another layout.
	ErrSignature Kind = C.REDEFINE_ETYPE
	// ErrBound is a method bound to its receiver (x.M) or a method of an interface (I.M): callers of the
	// method do not go through these.
	ErrBound Kind = C.REDEFINE_EBOUND
	// ErrWrapper is a function made by the compiler that only leads to another one, such as (*T).M where M
	// is declared with a receiver T.
	ErrWrapper Kind = C.REDEFINE_EWRAPPER
	// ErrVersion is a release of Go whose tables are not known.
	ErrVersion Kind = C.REDEFINE_EVERSION
	// ErrUnsupported is code that cannot be redefined safely, such as assembly.
	ErrUnsupported Kind = C.REDEFINE_EUNSUPPORTED
	// ErrShort is a function too short for a jump.
	ErrShort Kind = C.REDEFINE_ESHORT
	// ErrBusy is a function that cannot be changed at this moment.
	ErrBusy Kind = C.REDEFINE_EBUSY
	// ErrDenied is a system that does not allow the change.
	ErrDenied Kind = C.REDEFINE_EDENIED
	// ErrMemory is the lack of memory within reach of the function.
	ErrMemory Kind = C.REDEFINE_ENOMEM
	// ErrSystem is a system call that failed.
	ErrSystem Kind = C.REDEFINE_ESYSTEM
	// ErrRollback is a change that failed and could not be taken back completely.
	ErrRollback Kind = C.REDEFINE_EROLLBACK
)

func textOf(kind Kind) string {
	return C.GoString(C.redefine_strerror(C.redefine_status(kind)))
}

// A wish is one call of the C library.
type wish struct {
	target      uintptr
	replacement unsafe.Pointer
	goid        uint64
	value       unsafe.Pointer // of the target
	registers   int            // see argumentRegisters
}

// An answer says how the original is called; see struct redefine_go_request.
type answer struct {
	function uintptr
	call     uintptr
	where    uintptr
}

func (w *wish) request() *C.struct_redefine_go_request {
	request := new(C.struct_redefine_go_request)
	request.target = C.uint64_t(w.target)
	request.replacement = C.uint64_t(uintptr(w.replacement))
	request.g = C.uint64_t(current())
	request.goid = C.uint64_t(w.goid)
	request.func_value = C.uint64_t(uintptr(w.value))
	request.modules = C.uint64_t(C.modules())
	request.argument_registers = C.uint32_t(w.registers)
	copyText(request.main_package[:len(request.main_package)-1], mainPackage)
	copyText(request.gcflags[:len(request.gcflags)-1], gcflags)
	return request
}

func copyText(to []C.char, text string) {
	for i := 0; i < len(text) && i < len(to); i++ {
		to[i] = C.char(text[i])
	}
}

// The import path of package main, for the flag that an error names, and the flags that the program was built
// with, which may say that nothing is inlined.
var mainPackage, gcflags = howBuilt()

func howBuilt() (path, flags string) {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "", ""
	}
	for _, setting := range info.Settings {
		if setting.Key == "-gcflags" {
			flags = strings.Trim(setting.Value, `"'`) // Go 1.19 keeps the quotes
		}
	}
	if info.Path != "command-line-arguments" {
		path = info.Path
	}
	return path, flags
}

func answerOf(request *C.struct_redefine_go_request, status C.redefine_status) (answer, error) {
	if status != C.REDEFINE_OK {
		return answer{}, errorOf(request, status)
	}
	return answer{uintptr(request.function), uintptr(request.call), uintptr(request.where)}, nil
}

func errorOf(request *C.struct_redefine_go_request, status C.redefine_status) *Error {
	err := &Error{Kind: Kind(status), Text: C.GoString(&request.sentence[0])}
	for _, line := range strings.Split(C.GoString(&request.sites[0]), "\n") {
		if field := strings.Split(line, "\t"); len(field) == 3 {
			number, _ := strconv.Atoi(field[1])
			err.Sites = append(err.Sites, Site{File: field[0], Line: number, Caller: field[2]})
		}
	}
	return err
}

func redefineInC(w wish) (answer, error) {
	request := w.request()
	return answerOf(request, C.redefine_go_redefine(request))
}

func restoreInC(w wish) error {
	request := w.request()
	_, err := answerOf(request, C.redefine_go_restore(request))
	return err
}

func originalInC(w wish) (answer, error) {
	request := w.request()
	return answerOf(request, C.redefine_go_original(request))
}

func findInC(name string) (uintptr, error) {
	text := C.CString(name)
	defer C.free(unsafe.Pointer(text))
	request := new(wish).request()
	if status := C.redefine_go_find(text, request); status != C.REDEFINE_OK {
		return 0, errorOf(request, status)
	}
	return uintptr(request.target), nil
}

// sameLayoutInC compares two types by the addresses of their descriptors.
func sameLayoutInC(a, b unsafe.Pointer) error {
	request := new(wish).request()
	status := C.redefine_go_same_layout(C.uint64_t(uintptr(a)), C.uint64_t(uintptr(b)), request)
	if status != C.REDEFINE_OK {
		return errorOf(request, status)
	}
	return nil
}

func useGoidInC(offset uintptr) {
	C.redefine_go_use_goid(C.uint64_t(offset))
}

func currentInC() uintptr {
	return uintptr(C.redefine_go_current())
}
