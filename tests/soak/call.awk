# SPDX-License-Identifier: ISC
# awk -v seconds=N -v dave=0|1 -v seed=N: the scenario of a long call, for tests/voiceserver
# --offline with the clips of tests/align/align_call. Twenty speakers say something every now and
# then, leave and come back, each with a sender's clock of their own; the last two are silent but
# for a few seconds at the beginning and at the end.
function between(min, max) { return int(min + rand() * (max - min)) }

function speaker(i,    now, from, to, pauses, present, came, again) {
	now = 200 + 350 * i
	printf "  { \"clip\": \"beeps-%d.opus\", \"skew_ppm\": %d, \"start_ms\": %d,\n", i % 6,
		(i % 5 - 2) * 50, now
	printf "    \"faults\": { \"delay_ms\": 16, \"deviation_ms\": 8, \"spike\": 0.3, \"spike_ms\": 60, \"loss\": %g },\n",
		i % 4 == 3 ? 0.5 : 0
	came = 0
	again = between(0.5, 1.5) * hour + between(0, hour)
	while (now < end) {
		# Whole seconds of the clip: no beep is cut in two.
		from = now + 1000 * between(1, 5) - 10
		to = i < 18 ? from + between(10000, 80000) : end - 9000
		if (i < 18 && rand() < 0.02) to += between(0, hour / 4)
		if (to < from) to = from + 1000
		# Who leaves does so in a pause, and comes back in it.
		if (i < 18 && i % 3 > 0 && from > again && to - from > 9000 && to < end - 20000) {
			present = present sprintf("%s{ \"from_ms\": %d, \"to_ms\": %d }", present == "" ? "" : ", ",
				came, from + 2500)
			came = to - 2500
			again = to + between(0, hour)
		}
		pauses = pauses sprintf("%s{ \"from_ms\": %d, \"to_ms\": %d }", pauses == "" ? "" : ",\n      ",
			from, to)
		now = to
	}
	if (present != "")
		printf "    \"present\": [ %s, { \"from_ms\": %d } ],\n", present, came
	printf "    \"pauses\": [ %s ] }%s\n", pauses, i < 19 ? "," : ""
}

BEGIN {
	srand(seed)
	end = seconds * 1000
	hour = 3600000 < end / 4 ? 3600000 : end / 4
	printf "{ \"seed\": %d, \"seconds\": %d, \"guilds\": [ { \"dave\": %s, \"speakers\": [\n", seed,
		seconds, dave ? "true" : "false"
	for (i = 0; i < 20; i++) speaker(i)
	printf "  ]"
	if (dave) {
		printf ", \"events\": ["
		for (at = 60000; at < end - 60000; at += between(hour / 6, hour / 2))
			printf "%s { \"at_ms\": %d, \"do\": \"%s\" }", at == 60000 ? "" : ",", at,
				rand() < 0.9 ? "dave_churn" : "dave_recreate"
		printf " ]"
	}
	print " } ] }"
}
