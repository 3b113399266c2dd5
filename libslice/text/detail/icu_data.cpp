// What a static ICU lacks in a shared libslice (LIBSLICE_BUNDLE).

#include <unicode/utypes.h>

// Its data in place of libicudata's (cmake/icu_data.sh); its libraries find it by this symbol.
#define SLICE_TEXT(name) #name
#define SLICE_TEXT_OF(name) SLICE_TEXT(name)
#define SLICE_SYMBOL SLICE_TEXT_OF(U_ICUDATA_ENTRY_POINT)

// clang-format off
asm(".pushsection .rodata\n"
    ".global " SLICE_SYMBOL "\n"
    ".hidden " SLICE_SYMBOL "\n"
    ".balign 16\n"
    SLICE_SYMBOL ":\n"
    ".incbin \"" SLICE_ICU_DATA "\"\n"
    ".popsection\n");
// clang-format on

// Debian compiles it for programs, which may refer to variables of the C and C++ libraries as a
// library must not: those of its time zones, which libslice does not use, and the thread's of
// std::call_once, which are dynamic where Python loads libstdc++. Here are libslice's own.
#define SLICE_HIDDEN [[gnu::visibility("hidden")]]
extern "C" {
SLICE_HIDDEN long __timezone = 0, timezone = 0;
SLICE_HIDDEN char *__tzname[2] = {}, *tzname[2] = {};
SLICE_HIDDEN __thread void* once_callable asm("_ZSt15__once_callable") = nullptr;
SLICE_HIDDEN __thread void (*once_call)() asm("_ZSt11__once_call") = nullptr;
SLICE_HIDDEN void __once_proxy() { once_call(); }
}
