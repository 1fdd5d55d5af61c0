// SPDX-License-Identifier: MIT

module examples

go 1.19

require redefine v0.0.0

replace redefine => ../../go
