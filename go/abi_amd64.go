// SPDX-License-Identifier: MIT

package redefine

const (
	integerRegisters  = 9
	floatingRegisters = 15
)
