// SPDX-License-Identifier: MIT

package redefine

const (
	integerRegisters  = 16
	floatingRegisters = 16
)
