# SPDX-License-Identifier: MIT
#
# gnuplot -e "data='FILE'; svg='FILE'; what='…'" plot.gp: one bar per variant of a benchmark, with its ratio to the
# control it is compared with. bench/bench.h writes the data: "name" ns ratio (1 for a control).
set terminal svg size 1100,(160 + 34 * system("wc -l <" . data)) font "sans-serif,13" background "white"
set output svg
set tics nomirror
set title what noenhanced
set style fill solid 0.7 noborder
set boxwidth 0.7
stats data using 2 nooutput
set yrange [STATS_records - 0.4:-0.6]
set xrange [0:STATS_max * 1.6]
set format x "%.0s%c"
set lmargin 52
set rmargin 4
set key off
set xlabel "ns each; behind the bar: ratio to its control"
set grid xtics
set ytics noenhanced
plot data using ($2 / 2):0:($2 / 2):(0.35):ytic(1) with boxxyerror lc rgb "#4477aa", \
     data using 2:0:(sprintf("  %.2f (%.3f)", $2, $3)) with labels left noenhanced
