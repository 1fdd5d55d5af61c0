// SPDX-License-Identifier: MIT
//
// The library from C++: exceptions that leave a scope, templates, noexcept, overloads and namespaces by name.
#include "live.h"

#include <memory>
#include <stdexcept>
#include <string>

static volatile bool never;

// Throws as far as the compiler can tell: of a function that cannot, callers compiled with it in one file
// know that, whatever its attributes say, and have no landing pads.
TARGET int plain(int value)
{
    if (never)
        throw value;
    return value + 1;
}

static int plain_more(int value)
{
    return redefine_original(plain)(value) + 100;
}

static int plain_throws(int value)
{
    throw std::runtime_error("from the replacement " + std::to_string(value));
}

TARGET int quiet(int value) noexcept
{
    __asm__ volatile("");
    return value + 2;
}

static int quiet_more(int value)
{
    return redefine_original(quiet)(value) + 200;
}

static int quiet_more_noexcept(int value) noexcept
{
    return redefine_original(quiet)(value) + 300;
}

template <class T> TARGET T shape(T value)
{
    __asm__ volatile("");
    return value + value;
}

template <class T> static T shape_more(T value)
{
    return redefine_original(shape<T>)(value) + T(1000);
}

namespace outer {
namespace inner {
TARGET int overloaded(int value)
{
    __asm__ volatile("");
    return value + 10;
}

TARGET int overloaded(const char *)
{
    __asm__ volatile("");
    return 20;
}

TARGET int alone(int value, const std::string &text)
{
    __asm__ volatile("");
    return value + int(text.size());
}
} // namespace inner

class thing {
  public:
    explicit thing(int value) : value_(value)
    {
    }
    TARGET int get(int more) const
    {
        __asm__ volatile("");
        return value_ + more;
    }
    TARGET static int shared(int value)
    {
        __asm__ volatile("");
        return value * 3;
    }
    virtual TARGET int made(int value)
    {
        __asm__ volatile("");
        return value_ * value;
    }
    virtual ~thing()
    {
    }

  private:
    int value_;
};
} // namespace outer

static int overloaded_int(int value)
{
    using type = int(int);
    return redefine_original(static_cast<type *>(outer::inner::overloaded))(value) + 100;
}

// A method is a function whose first argument is the object.
typedef int method_type(const outer::thing *, int);
static method_type *get_target;

static int get_more(const outer::thing *self, int more)
{
    return redefine_original(get_target)(self, more) + 4000;
}

static void exception_leaves_scope()
{
    live_world_take(&live_before);
    try {
        REDEFINE_SCOPED(plain, plain_more);
        CHECK_INT(plain(1), 102);
        {
            REDEFINE_SCOPED(plain, plain_throws);
            (void)plain(5);
        }
        CHECK(false);
    } catch (const std::runtime_error &error) {
        CHECK(std::string(error.what()) == "from the replacement 5");
    }
    CHECK_INT(plain(1), 2);
    CHECK(redefine_original(plain) == plain);
    CHECK_OK(redefine(plain, plain_more));
    try {
        REDEFINE_SCOPED(plain, plain_throws);
        (void)plain(6);
        CHECK(false);
    } catch (const std::exception &) {
    }
    CHECK_INT(plain(1), 102); // the outer one is in force again
    CHECK_OK(redefine_restore(plain));
    live_world_take(&live_now);
    const char *difference = live_world_difference(&live_before, &live_now, false);
    if (difference)
        live_fail(__FILE__, __LINE__, "%s", difference);
}

static void noexcept_targets()
{
    CHECK_OK(redefine(quiet, quiet_more));
    CHECK_INT(quiet(1), 203);
    CHECK_OK(redefine(quiet, quiet_more_noexcept));
    CHECK_INT(quiet(1), 303);
    static_assert(noexcept(quiet(1)) || __cplusplus < 201703L, "quiet is noexcept");
    CHECK_OK(redefine_restore(quiet));
    CHECK_INT(quiet(1), 3);
}

static void templates()
{
    CHECK_OK(redefine(shape<int>, shape_more<int>));
    CHECK_INT(shape(2), 1004);
    CHECK_INT(shape(2L), 4); // another instance
    CHECK(shape(1.5) == 3.0);
    CHECK_OK(redefine(shape<double>, shape_more<double>));
    CHECK(shape(1.5) == 1003.0);
    CHECK_OK(redefine_restore_all());
    CHECK_INT(shape(2), 4);
    CHECK(shape(1.5) == 3.0);
}

static void lambdas()
{
    CHECK_OK(redefine(
        plain, +[](int value) { return value + 7000; }));
    CHECK_INT(plain(1), 7001);
    CHECK_OK(redefine_restore(plain));
}

static void *find(const char *name)
{
    void *found = nullptr;
    int status = redefine_find(name, &found);
    if (status != REDEFINE_OK)
        live_fail(__FILE__, __LINE__, "%s: %s", name, redefine_explain());
    return found;
}

static void names()
{
    using with_int = int(int);
    using with_text = int(const char *);
    CHECK(find("outer::inner::overloaded(int)") ==
          ADDRESS(static_cast<with_int *>(outer::inner::overloaded)));
    CHECK(find("outer::inner::overloaded(char const*)") ==
          ADDRESS(static_cast<with_text *>(outer::inner::overloaded)));
    void *found = nullptr;
    CHECK_STATUS(redefine_find("outer::inner::overloaded", &found), REDEFINE_EAMBIGUOUS);
    CHECK(!found);
    CHECK_SAYS("overloaded(int)");
    CHECK_SAYS("overloaded(char const*)");
    CHECK(find("outer::inner::alone") == ADDRESS(outer::inner::alone));
    CHECK(find("outer::thing::shared") == ADDRESS(outer::thing::shared));
    CHECK(find("outer::thing::shared(int)") == ADDRESS(outer::thing::shared));
    CHECK(find("shape<int>") == ADDRESS(shape<int>));
    CHECK(find("plain") == ADDRESS(plain)); // of C++, not the C name
    CHECK_INT(shape(1L) + shape(1) + outer::inner::alone(1, "text"), 9);
    CHECK_STATUS(redefine_find("outer::inner::overloaded(double)", &found), REDEFINE_ENOTFOUND);
    CHECK_STATUS(redefine_find("outer::nothing", &found), REDEFINE_ENOTFOUND);
}

static void overload_by_name()
{
    void *target = find("outer::inner::overloaded(int)");
    CHECK_OK(redefine_func(target, ADDRESS(overloaded_int)));
    CHECK_INT(outer::inner::overloaded(1), 111);
    CHECK_INT(outer::inner::overloaded("x"), 20);
    CHECK_OK(redefine_func_restore(target));
    CHECK_INT(outer::inner::overloaded(1), 11);
}

static void methods()
{
    outer::thing object(5);
    get_target = reinterpret_cast<method_type *>(find("outer::thing::get(int) const"));
    CHECK(find("outer::thing::get") == ADDRESS(get_target));
    CHECK_OK(redefine(get_target, get_more));
    CHECK_INT(object.get(1), 4006);
    CHECK_OK(redefine_restore(get_target));
    CHECK_INT(object.get(1), 6);
    // Through the table of virtual functions.
    get_target = reinterpret_cast<method_type *>(find("outer::thing::made(int)"));
    std::unique_ptr<outer::thing> other(new outer::thing(6));
    outer::thing *volatile hidden = other.get();
    CHECK_OK(redefine(get_target, get_more));
    CHECK_INT(hidden->made(2), 4012);
    CHECK_OK(redefine_restore(get_target));
    CHECK_INT(hidden->made(2), 12);
}

int main()
{
    static const struct live_case cases[] = {
        {"exceptions leave scopes", exception_leaves_scope, 0},
        {"noexcept targets, with and without in the replacement", noexcept_targets, 0},
        {"instances of a template", templates, 0},
        {"a lambda as replacement", lambdas, 0},
        {"names: namespaces, overloads, methods, templates", names, 0},
        {"one overload of two", overload_by_name, 0},
        {"methods, virtual ones too", methods, 0},
    };
    return live_main(cases, LIVE_COUNT(cases));
}
