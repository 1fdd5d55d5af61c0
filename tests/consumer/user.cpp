/* SPDX-License-Identifier: MIT
 *
 * A program of someone else's, in C++. */
#include <redefine/redefine.h>

#include <cstdio>
#include <stdexcept>

namespace shop {

__attribute__((noinline)) int price(int count)
{
    __asm__ volatile("");
    return 3 * count;
}

__attribute__((noinline)) int quiet_price(int count) noexcept
{
    __asm__ volatile("");
    return 5 * count;
}

int half_price(int count)
{
    return redefine_original(price)(count) / 2;
}

} // namespace shop

static int (*volatile ask)(int) = shop::price;
static int (*volatile ask_quietly)(int) = shop::quiet_price;

static void throw_in_scope()
{
    REDEFINE_SCOPED(shop::price, shop::half_price);
    if (ask(4) != 6)
        throw std::logic_error("not redefined in the scope");
    throw std::runtime_error("out of here");
}

static bool expect(const char *what, int is, int should_be)
{
    if (is != should_be)
        std::printf("%s: %d, not %d\n", what, is, should_be);
    return is == should_be;
}

int main()
{
    // noexcept is no part of how a function is called.
    if (redefine(shop::quiet_price, shop::half_price) != REDEFINE_OK) {
        std::puts(redefine_explain());
        return 1;
    }
    // half_price asks for the original of price, which is not redefined yet: for price itself.
    bool good = expect("redefined", ask_quietly(4), 6);
    good &= expect("restore", redefine_restore(shop::quiet_price), REDEFINE_OK);
    good &= expect("restored", ask_quietly(4), 20);
    try {
        throw_in_scope();
    } catch (const std::runtime_error &) {
        good &= expect("after an exception left the scope", ask(4), 12);
    }
    return good ? 0 : 1;
}
