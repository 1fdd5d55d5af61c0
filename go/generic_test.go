// SPDX-License-Identifier: MIT

package redefine_test

import (
	"fmt"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"redefine"
)

type (
	dogs struct{ n int }
	cats struct{ n int }
)

//go:noinline
func describe[T any](x T, times int) string { return fmt.Sprintf("%T %d", x, times) }

//go:noinline
func first[T any](all []T) T {
	if len(all) == 0 {
		var none T
		return none
	}
	runtime.Gosched()
	return all[0]
}

type stack[T any] struct{ all []T }

//go:noinline
func (s *stack[T]) Push(x T) { s.all = append(s.all, x) }

//go:noinline
func (s stack[T]) Text(prefix string) string { return fmt.Sprint(prefix, s.all) }

type texter interface{ Text(string) string }

func TestGenericFunction(t *testing.T) {
	mustRedefine(t, first[int], func(all []int) int { return len(all) })
	check(t, "redefined", first([]int{7, 8}), 2)
	check(t, "another shape", first([]string{"a", "b"}), "a")
	check(t, "original", redefine.Original(first[int])([]int{7, 8}), 7)
}

func TestOneShapeTwoInstantiations(t *testing.T) {
	mustRedefine(t, describe[*dogs], func(x *dogs, times int) string { return fmt.Sprint("dogs ", x.n*times) })
	check(t, "redefined", describe(&dogs{3}, 2), "dogs 6")
	check(t, "the other", describe(&cats{3}, 2), "*redefine_test.cats 2")
	mustRedefine(t, describe[*cats], func(x *cats, times int) string { return fmt.Sprint("cats ", x.n+times) })
	check(t, "redefined", describe(&cats{3}, 2), "cats 5")
	check(t, "the first", describe(&dogs{3}, 2), "dogs 6")
	check(t, "original", redefine.Original(describe[*dogs])(&dogs{1}, 2), "*redefine_test.dogs 2")
	check(t, "original", redefine.Original(describe[*cats])(&cats{1}, 2), "*redefine_test.cats 2")
	if err := redefine.Restore(describe[*dogs]); err != nil {
		t.Fatal(err)
	}
	check(t, "restored", describe(&dogs{3}, 2), "*redefine_test.dogs 2")
	check(t, "still redefined", describe(&cats{3}, 2), "cats 5")
	if err := redefine.Restore(describe[*cats]); err != nil {
		t.Fatal(err)
	}
	check(t, "restored", describe(&cats{3}, 2), "*redefine_test.cats 2")
	check(t, "original after the restore", redefine.Original(describe[*cats])(&cats{1}, 2), "*redefine_test.cats 2")
}

func TestGenericMethods(t *testing.T) {
	mustRedefine(t, (*stack[int]).Push, func(s *stack[int], x int) { s.all = append(s.all, x, x) })
	ints, words := &stack[int]{}, &stack[string]{}
	ints.Push(1)
	words.Push("a")
	redefine.Original((*stack[int]).Push)(ints, 2)
	check(t, "redefined", fmt.Sprint(ints.all), "[1 1 2]")
	check(t, "another shape", fmt.Sprint(words.all), "[a]")
	mustRedefine(t, stack[int].Text, func(s stack[int], prefix string) string { return prefix + "no" })
	check(t, "value receiver", ints.Text("x "), "x no")
	check(t, "through an interface", texter(ints).Text("y "), "y no")
	check(t, "through an interface, by value", texter(*ints).Text("z "), "z no")
	check(t, "original", redefine.Original(stack[int].Text)(*ints, ">"), ">[1 1 2]")
}

func TestGenericClosure(t *testing.T) {
	said := ""
	mustRedefine(t, describe[int], func(x, times int) string { said += fmt.Sprint(x, times, ";"); return said })
	describe(1, 2)
	check(t, "captured", describe(3, 4), "1 2;3 4;")
}

//go:noinline
func tell[T any](x T, way string) string { return fmt.Sprintf("%T %s", x, way) }

// A type made of the parameter: the compiler makes bodies of tell for what it knows of T here, beside those that
// tell[[]*dogs] has when it is named.
//
//go:noinline
func tellSlice[T any](x T) string { return tell([]T{x}, "slice") }

//go:noinline
func tellSliceOfSlices[T any](x T) string { return tellSlice([]T{x}) }

//go:noinline
func tellArrays[T any](x T) string { return tell([][]T{{x}}, "direct") }

type shelf[T any] struct {
	label string
	all   []T
}

//go:noinline
func (s *shelf[T]) Add(x T) string {
	s.all = append(s.all, x)
	return fmt.Sprintf("%T %d", x, len(s.all))
}

//go:noinline
func (s shelf[T]) Read(more T) string { return fmt.Sprintf("%s %T %d", s.label, more, len(s.all)) }

//go:noinline
func fillShelf[T any](x T) string { s := shelf[[]T]{}; return s.Add([]T{x}) }

//go:noinline
func readShelf[T any](x T) string { return shelf[[]T]{label: "l"}.Read([]T{x}) }

func TestGenericCalledByGeneric(t *testing.T) {
	mustRedefine(t, tell[[]*dogs], func(x []*dogs, way string) string {
		return "r " + redefine.Original(tell[[]*dogs])(x, way)
	})
	check(t, "named", tell([]*dogs{}, "x"), "r []*redefine_test.dogs x")
	check(t, "by a generic function", tellSlice(&dogs{}), "r []*redefine_test.dogs slice")
	check(t, "another type of that shape", tellSlice(&cats{}), "[]*redefine_test.cats slice")
	mustRedefine(t, tell[[]*cats], func(x []*cats, way string) string { return "cats " + way })
	check(t, "another type, redefined", tellSlice(&cats{}), "cats slice")
	check(t, "the first", tellSlice(&dogs{}), "r []*redefine_test.dogs slice")
	if err := redefine.Restore(tell[[]*dogs]); err != nil {
		t.Fatal(err)
	}
	check(t, "restored", tellSlice(&dogs{}), "[]*redefine_test.dogs slice")
	check(t, "still redefined", tellSlice(&cats{}), "cats slice")
	mustRedefine(t, tell[[]*dogs], func(x []*dogs, way string) string { return "again " + way })
	check(t, "redefined again", tellSlice(&dogs{}), "again slice")
}

func TestGenericWithManyBodies(t *testing.T) {
	all := []func() string{
		func() string { return tell([][]*dogs{}, "named") },
		func() string { return tellArrays(&dogs{}) },
		func() string { return tellSlice([]*dogs{}) },
		func() string { return tellSliceOfSlices(&dogs{}) },
	}
	ways := []string{"named", "direct", "slice", "slice"}
	redefineIt := func() error {
		return redefine.Func(tell[[][]*dogs], func(_ [][]*dogs, way string) string { return "r " + way })
	}
	for round := 0; round < 3; round++ {
		for i, f := range all {
			check(t, "before", f(), "[][]*redefine_test.dogs "+ways[i])
		}
		if err := redefineIt(); err != nil {
			t.Fatal(err)
		}
		for i, f := range all {
			check(t, "redefined", f(), "r "+ways[i])
			check(t, "original", redefine.Original(tell[[][]*dogs])(nil, ways[i]), "[][]*redefine_test.dogs "+ways[i])
		}
		check(t, "another type", tellSliceOfSlices(&cats{}), "[][]*redefine_test.cats slice")
		check(t, "fewer slices", tellSlice(&dogs{}), "[]*redefine_test.dogs slice")
		if err := redefine.Restore(tell[[][]*dogs]); err != nil {
			t.Fatal(err)
		}
	}
}

func TestGenericMethodsOfManyBodies(t *testing.T) {
	check(t, "other receivers", (&shelf[string]{}).Add("x")+(&shelf[int]{}).Add(1), "string 1int 1")
	check(t, "other receivers", shelf[string]{}.Read("x")+shelf[float64]{}.Read(1), " string 0 float64 0")
	mustRedefine(t, (*shelf[[]*dogs]).Add, func(s *shelf[[]*dogs], x []*dogs) string {
		return "r " + redefine.Original((*shelf[[]*dogs]).Add)(s, x)
	})
	check(t, "by a generic function", fillShelf(&dogs{}), "r []*redefine_test.dogs 1")
	check(t, "named", (&shelf[[]*dogs]{}).Add(nil), "r []*redefine_test.dogs 1")
	check(t, "another type", fillShelf(&cats{}), "[]*redefine_test.cats 1")
	mustRedefine(t, shelf[[]*dogs].Read, func(s shelf[[]*dogs], x []*dogs) string {
		return fmt.Sprintf("r%d ", len(x)) + redefine.Original(shelf[[]*dogs].Read)(s, x)
	})
	check(t, "value receiver", readShelf(&dogs{}), "r1 l []*redefine_test.dogs 0")
	check(t, "value receiver, named", shelf[[]*dogs]{}.Read(nil), "r0  []*redefine_test.dogs 0")
	check(t, "value receiver, another type", readShelf(&cats{}), "l []*redefine_test.cats 0")
	check(t, "other receivers", shelf[string]{}.Read("x")+shelf[float64]{}.Read(1), " string 0 float64 0")
}

// Inlined where T is known: the dictionary is in the caller's code then, and in no other dictionary.
func tellMap[T any](x T) string { return tell(map[string]T{"k": x}, "map") }

func TestGenericCalledByInlinedGeneric(t *testing.T) {
	mustRedefine(t, tell[map[string]*dogs], func(_ map[string]*dogs, way string) string { return "r " + way })
	check(t, "redefined", tellMap(&dogs{}), "r map")
	check(t, "another type", tellMap(&cats{}), "map[string]*redefine_test.cats map")
}

//go:noinline
func (s shelf[T]) size() int { return len(s.label) }

//go:noinline
func sizeOfShelf[T any](x T) int { return shelf[[]T]{label: "four"}.size() }

// Where a body of a few instructions has its dictionary, behind a receiver of any size, cannot be told: never silent.
func TestGenericBodyThatCannotBeTold(t *testing.T) {
	err := redefine.Func(shelf[[]*cats].size, func(shelf[[]*cats]) int { return 7 })
	if err != nil {
		checkKind(t, err, redefine.ErrUnsupported)
		if !strings.Contains(err.Error(), "has another body") {
			t.Error(err)
		}
	} else {
		defer redefine.Restore(shelf[[]*cats].size)
		check(t, "by a generic function", sizeOfShelf(&cats{}), 7)
	}
	check(t, "another type", sizeOfShelf(&dogs{}), 4)
}

// Each test sees its own, by whichever body.
func TestGenericManyBodiesForGoroutine(t *testing.T) {
	for i := 0; i < 8; i++ {
		number := fmt.Sprint(i)
		t.Run(number, func(t *testing.T) {
			t.Parallel()
			redefine.TestForGoroutine(t, tell[[]*dogs], func(_ []*dogs, way string) string { return number + way })
			for n := 0; n < 200; n++ {
				check(t, "mine", tellSlice(&dogs{}), number+"slice")
				check(t, "mine, named", tell([]*dogs{}, "x"), number+"x")
				check(t, "another type", tellSlice(&cats{}), "[]*redefine_test.cats slice")
				done := make(chan string)
				go func() { done <- tellSlice(&dogs{}) }()
				check(t, "another goroutine's", <-done, "[]*redefine_test.dogs slice")
			}
			if err := redefine.Restore(tell[[]*dogs]); err != nil {
				t.Fatal(err)
			}
			check(t, "restored", tellSlice(&dogs{}), "[]*redefine_test.dogs slice")
		})
	}
}

// Growing the stack on the way into the other body, for a dictionary that is redefined and one that is not.
func TestGenericOtherBodyWhileStackGrows(t *testing.T) {
	mustRedefine(t, tell[[]*dogs], func(x []*dogs, way string) string {
		return "r" + redefine.Original(tell[[]*dogs])(x, way)
	})
	for depth := 0; depth < 200; depth++ {
		done := make(chan string)
		go func() {
			done <- deeper(depth, func() string { return tellSlice(&dogs{}) })
			done <- deeper(depth, func() string { return tellSlice(&cats{}) })
		}()
		check(t, "redefined", <-done, "r[]*redefine_test.dogs slice")
		check(t, "the other", <-done, "[]*redefine_test.cats slice")
	}
}

//go:noinline
func crowded[T any](a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p T) string {
	return fmt.Sprint(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p)
}

// As many as fit on arm64, the dictionary included.
//
//go:noinline
func fullOnArm[T any](a, b, c, d, e, f, g, h, i, j, k, l, m, n, o T) string {
	return fmt.Sprint(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o)
}

//go:noinline
func full[T any](a, b, c, d, e, f, g, h T, x float64, z [2]T) string {
	return fmt.Sprint(a, b, c, d, e, f, g, h, x, z)
}

// With its dictionary in a register, the last word, the ninth on amd64, is on the stack.
func TestGenericWithManyArguments(t *testing.T) {
	err := redefine.Func(crowded[int], func(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p int) string { return "" })
	checkKind(t, err, redefine.ErrUnsupported)
	reversed := func(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o int) string {
		return "r " + redefine.Original(fullOnArm[int])(o, n, m, l, k, j, i, h, g, f, e, d, c, b, a)
	}
	if runtime.GOARCH == "arm64" {
		mustRedefine(t, fullOnArm[int], reversed)
		check(t, "redefined", fullOnArm(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15), "r 15 14 13 12 11 10 9 8 7 6 5 4 3 2 1")
	} else {
		checkKind(t, redefine.Func(fullOnArm[int], reversed), redefine.ErrUnsupported)
	}
	mustRedefine(t, full[int], func(a, b, c, d, e, f, g, h int, x float64, z [2]int) string {
		return "r " + redefine.Original(full[int])(h, g, f, e, d, c, b, a, -x, [2]int{z[1], z[0]})
	})
	check(t, "redefined", full(1, 2, 3, 4, 5, 6, 7, 8, 2.5, [2]int{9, 10}), "r 8 7 6 5 4 3 2 1 -2.5 [10 9]")
}

// Growing the stack between the wrapper and the function, and in the function.
func TestGenericOriginalWhileStackGrows(t *testing.T) {
	mustRedefine(t, describe[*dogs], func(x *dogs, times int) string {
		return "r" + redefine.Original(describe[*dogs])(x, times)
	})
	for depth := 0; depth < 200; depth++ {
		done := make(chan string)
		go func() { done <- deeper(depth, func() string { return describe(&dogs{1}, depth) }) }()
		if got, want := <-done, fmt.Sprintf("r*redefine_test.dogs %d", depth); got != want {
			t.Fatalf("at depth %d: %s", depth, got)
		}
	}
}

//go:noinline
func sumOf[T int | uint](n T) T {
	if n == 0 {
		return 0
	}
	return n + sumOf(n-1)
}

// Each call goes through the instantiation's own function, which leaves the check of the stack to the shape's: its
// func values lead behind its own check, and nowhere else than into its own code.
func TestGenericOriginalOfRecursion(t *testing.T) {
	var original func(int) int
	mustRedefine(t, sumOf[int], func(n int) int { return original(n) })
	original = redefine.Original(sumOf[int])
	for _, n := range []int{1, 2, 3, 50, 20000} {
		for _, f := range []func(int) int{original, sumOf[int]} {
			done := make(chan int)
			go func() { done <- f(n) }()
			check(t, "sum", <-done, n*(n+1)/2)
		}
	}
	if fn := runtime.FuncForPC(reflect.ValueOf(original).Pointer()); fn == nil {
		t.Error("the original of a small instantiation begins elsewhere than in its own function")
	}
}

//go:noinline
func deeper(depth int, then func() string) string {
	if depth == 0 {
		return then()
	}
	return deeper(depth-1, then)
}
