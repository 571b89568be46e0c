# SPDX-License-Identifier: ISC
# awk -f chart.awk bench.json >stages.svg: where the time of a packet goes. Reads the rows whose
# names begin with stage_, as bench writes them: one member a line.
/"name": / { split($0, part, "\""); name = part[4] }
/"value": / && name ~ /^stage_/ { value = $2; sub(/,/, "", value); us[substr(name, 7)] = value + 0 }

# One bar: the stages of list, `wide` pixels a microsecond.
function bar(y, title, list, wide,    n, i, x, stage, sum) {
	n = split(list, stage, " ")
	x = 90
	for (i = 1; i <= n; i++) {
		if (us[stage[i]] <= 0)
			continue
		printf "<rect x=\"%.1f\" y=\"%d\" width=\"%.1f\" height=\"26\" fill=\"%s\"/>\n",
			x, y, us[stage[i]] * wide, color[stage[i]]
		x += us[stage[i]] * wide
		sum += us[stage[i]]
	}
	printf "<text x=\"82\" y=\"%d\" text-anchor=\"end\">%s</text>\n", y + 18, title
	printf "<text x=\"%.1f\" y=\"%d\">%.2f µs</text>\n", x + 6, y + 18, sum
}

function legend(    n, i, stage, y) {
	n = split("carry open dave decode wav packets ogg", stage, " ")
	for (i = 1; i <= n; i++) {
		y = 200 + int((i - 1) / 2) * 22
		x = 90 + (i - 1) % 2 * 330
		printf "<rect x=\"%d\" y=\"%d\" width=\"14\" height=\"14\" fill=\"%s\"/>\n", x, y, color[stage[i]]
		printf "<text x=\"%d\" y=\"%d\">%s: %.2f µs</text>\n", x + 20, y + 12, what[stage[i]], us[stage[i]]
	}
}

END {
	color["carry"] = "#4c72b0"; what["carry"] = "read, carry to the worker, put in order"
	color["open"] = "#dd8452"; what["open"] = "open AES-256-GCM"
	color["dave"] = "#c44e52"; what["dave"] = "open DAVE"
	color["decode"] = "#bbbbbb"; what["decode"] = "decode, carry the sound back"
	color["wav"] = "#8172b3"; what["wav"] = "place it, write WAV"
	color["packets"] = "#937860"; what["packets"] = "carry packets back"
	color["ogg"] = "#da8bc3"; what["ogg"] = "place them, write Ogg"
	print "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 760 285\" font-family=\"sans-serif\" font-size=\"13\">"
	print "<rect width=\"760\" height=\"285\" fill=\"white\"/>"
	print "<text x=\"90\" y=\"18\" font-weight=\"bold\">CPU time of a packet of 20 ms, DAVE, to WAV</text>"
	all = us["carry"] + us["open"] + us["dave"] + us["decode"] + us["wav"]
	rest = all - us["decode"]
	opus = us["carry"] + us["open"] + us["dave"] + us["packets"] + us["ogg"]
	bar(28, "all", "carry open dave decode wav", 590 / all)
	print "<text x=\"90\" y=\"88\" font-weight=\"bold\">All but decoding, at another scale</text>"
	zoom = 590 / (rest > opus ? rest : opus)
	bar(98, "to WAV", "carry open dave wav", zoom)
	bar(134, "to Opus", "carry open dave packets ogg", zoom)
	legend()
	print "</svg>"
}
