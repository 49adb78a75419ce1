# Draws any curve.csv:  gnuplot -e "run='results/quick/runs/lr0.2_h500-324_decay0.5'" scripts/plot_curves.gp
set datafile separator ","
set terminal pngcairo size 1600,640 font ",14"
set output run."/curve.png"
set multiplot layout 1,2
set key autotitle columnheader noenhanced
set xlabel "epoch"
set ylabel "mean cross-entropy (nats)"
plot run."/curve.csv" using 1:3 with lines lw 2, "" using 1:5 with linespoints lw 2 dt 2
set ylabel "correctly classified (fraction)"
set key bottom
plot run."/curve.csv" using 1:4 with lines lw 2, "" using 1:6 with linespoints lw 2 dt 2
