module redefine

go 1.19
