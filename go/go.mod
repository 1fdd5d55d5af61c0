// SPDX-License-Identifier: MIT

module redefine

go 1.19
