/* SPDX-License-Identifier: MIT
 *
 * The text of an instruction, by Zydis.
 */
#include "arch/x86_64/x86_64.h"

static bool formatter_init(ZydisFormatter *formatter)
{
    static const struct {
        ZydisFormatterProperty property;
        ZyanUPointer value;
    } settings[] = {
        {ZYDIS_FORMATTER_PROP_HEX_UPPERCASE, ZYAN_FALSE},
        {ZYDIS_FORMATTER_PROP_ADDR_PADDING_ABSOLUTE, ZYDIS_PADDING_DISABLED},
        {ZYDIS_FORMATTER_PROP_DISP_PADDING, ZYDIS_PADDING_DISABLED},
        {ZYDIS_FORMATTER_PROP_IMM_PADDING, ZYDIS_PADDING_DISABLED},
    };

    if (ZYAN_FAILED(ZydisFormatterInit(formatter, ZYDIS_FORMATTER_STYLE_INTEL)))
        return false;
    for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++)
        if (ZYAN_FAILED(ZydisFormatterSetProperty(formatter, settings[i].property, settings[i].value)))
            return false;
    return true;
}

size_t rdf_x86_64_format(struct rdf_span code, uint64_t addr, char *ret_text, size_t text_bytes)
{
    ZydisDecoder decoder;
    ZydisFormatter formatter;
    ZydisDecodedInstruction insn;
    ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
    char text[256];
    const char *shown = "(bad)";
    size_t len_bytes = 0;

    if (code.data &&
        ZYAN_SUCCESS(ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64)) &&
        formatter_init(&formatter) &&
        ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, code.data, code.len_bytes, &insn, operands)) &&
        ZYAN_SUCCESS(ZydisFormatterFormatInstruction(&formatter, &insn, operands, insn.operand_count_visible,
                                                     text, sizeof text, addr, ZYAN_NULL))) {
        shown = text;
        len_bytes = insn.length;
    }
    /* The caller's buffer may be short: Zydis would fail, a cut text still tells most. */
    if (text_bytes > 0) {
        size_t i = 0;
        for (; i + 1 < text_bytes && shown[i]; i++)
            ret_text[i] = shown[i];
        ret_text[i] = '\0';
    }
    return len_bytes;
}
