# SPDX-License-Identifier: ISC
# awk -f drift.awk errors.csv > drift.svg: how far what was recorded is from its true place, and how
# far it would be if every stream's timestamps were believed from its first packet on.
BEGIN {
	FS = ","
	split("#555555 #d1495b #1f77b4 #2a9d4a #e08e0b #7b4fb5", color, " ")
	left = 62; wide = 770; hours = 2
	top[1] = 62; high[1] = 230; most[1] = 800; step[1] = 200
	top[2] = 368; high[2] = 230; most[2] = 25; step[2] = 10
}

function x(seconds) { return left + wide * seconds / (hours * 3600) }
function y(panel, ms) { return top[panel] + high[panel] / 2 * (1 - ms / most[panel]) }

NR > 1 {
	n = $1
	if (!(n in ppm))
		order[++speakers] = n
	ppm[n] = -$2
	# A line per stream: a new one begins near zero again. Frozen timestamps are off the scale.
	if ($3 > 600 && $5 > -most[1] && $5 < most[1])
		shown[n] = 1
	if ($5 > -most[1] && $5 < most[1]) {
		fresh = !(n in last_s) || ($5 - last_ms[n]) ^ 2 > 25 + (($3 - last_s[n]) * 0.0002) ^ 2 * 1e6
		if (fresh || $3 - last_line[n] > 60) {
			line[n] = line[n] sprintf("%s%.1f %.1f", fresh ? "M" : "L", x($3), y(1, $5))
			last_line[n] = $3
		}
		last_s[n] = $3
		last_ms[n] = $5
	}
	if (!(n in dot_s) || $3 - dot_s[n] > 8 || ($4 - dot_ms[n]) ^ 2 > 0.25) {
		dots[n] = dots[n] sprintf("M%.1f %.1fh0", x($3), y(2, $4))
		dot_s[n] = $3
		dot_ms[n] = $4
	}
	if ($4 ^ 2 > worst ^ 2)
		worst = $4
	sum++
}

function signed(v) { return v == 0 ? "0" : sprintf("%+d", v) }

function panel(p, title,    ms, m) {
	printf "<text x=\"%d\" y=\"%d\" class=\"t\">%s</text>\n", left, top[p] - 10, title
	for (ms = -int(most[p] / step[p]) * step[p]; ms <= most[p]; ms += step[p]) {
		printf "<path d=\"M%d %.1fh%d\" stroke=\"%s\"/>\n", left, y(p, ms), wide, ms == 0 ? "#888" : "#e4e4e4"
		printf "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%s</text>\n", left - 7, y(p, ms) + 4, signed(ms)
	}
	for (m = 0; m <= hours * 60; m += 15) {
		printf "<path d=\"M%.1f %dv%d\" stroke=\"#e4e4e4\"/>\n", x(m * 60), top[p], high[p]
		printf "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%d</text>\n", x(m * 60), top[p] + high[p] + 16, m
	}
	printf "<text x=\"16\" y=\"%.1f\" transform=\"rotate(-90 16 %.1f)\" text-anchor=\"middle\">ms off</text>\n", top[p] + high[p] / 2, top[p] + high[p] / 2
}

function curve(d, c, width) {
	printf "<path d=\"%s\" fill=\"none\" stroke=\"%s\" stroke-width=\"%s\" stroke-linecap=\"round\" stroke-linejoin=\"round\"/>\n", d, c, width
}

END {
	printf "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 960 660\" font-family=\"sans-serif\" font-size=\"12\">\n"
	printf "<style>.t{font-size:14px;font-weight:bold}</style>\n<rect width=\"960\" height=\"660\" fill=\"#fff\"/>\n"
	printf "<text x=\"%d\" y=\"24\" class=\"t\" style=\"font-size:17px\">A call of two hours, six speakers: how far from its place is what was said?</text>\n", left
	panel(1, "If a stream's RTP time were believed from its first packet on")
	panel(2, sprintf("As recorded: %d beeps, off by %.1f ms at most", sum, worst < 0 ? -worst : worst))
	printf "<path d=\"M%d %.1fh%dM%d %.1fh%d\" stroke=\"#c00\" stroke-dasharray=\"6 4\"/>\n", left, y(2, 20), wide, left, y(2, -20), wide
	printf "<text x=\"%d\" y=\"%.1f\" fill=\"#c00\">limit</text>\n", left + 6, y(2, 20) - 5
	for (i = 1; i <= speakers; i++) {
		n = order[i]
		curve(line[n], color[n], 2)
		curve(dots[n], color[n], 3)
		at = top[1] + 14 + 24 * (i - 1)
		printf "<path d=\"M%d %dh16\" stroke=\"%s\" stroke-width=\"4\"/>\n", left + wide + 14, at, color[n]
		printf "<text x=\"%d\" y=\"%d\">%s ppm%s</text>\n", left + wide + 36, at + 4, signed(ppm[n]), shown[n] ? "" : " *"
		if (!shown[n])
			note = 1
	}
	if (note) {
		printf "<g font-size=\"10.5\" fill=\"#555\" transform=\"translate(%d %d)\">", left + wide + 14, at + 30
		printf "<text>* off the scale:</text><text y=\"13\">stands still in</text><text y=\"26\">every pause</text></g>\n"
	}
	printf "<g font-size=\"10.5\" fill=\"#555\" transform=\"translate(%d %d)\">", left + wide + 14, top[2] + 20
	printf "<text>Slopes: inside a</text><text y=\"13\">talk spurt nothing</text><text y=\"26\">is put in or taken</text><text y=\"39\">out, so it drifts</text><text y=\"52\">as its clock does.</text></g>\n"
	printf "<text x=\"%.1f\" y=\"640\" text-anchor=\"middle\">minutes since the beginning of the recording</text>\n</svg>\n", left + wide / 2
}
