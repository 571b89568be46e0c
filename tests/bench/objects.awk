# SPDX-License-Identifier: ISC
# Instructions a program executed itself, by object, from what callgrind wrote: "NAME COUNT" a line.
/^ob=/ {
	object = substr($0, 4)
	if (match(object, /^\([0-9]+\)/)) {
		id = substr(object, 1, RLENGTH)
		if (length(object) > RLENGTH)
			name[id] = substr(object, RLENGTH + 2)
		object = name[id]
	}
	sub(/.*\//, "", object)
	next
}
/^cob=/ {
	# A called object may be named here for the first time.
	called = substr($0, 5)
	if (match(called, /^\([0-9]+\)/) && length(called) > RLENGTH)
		name[substr(called, 1, RLENGTH)] = substr(called, RLENGTH + 2)
	next
}
# The line behind it is what the callee cost.
/^calls=/ {
	getline
	next
}
/^[0-9+*-]/ && NF >= 2 { sum[object] += $2 }
END {
	for (object in sum)
		print object, sum[object]
}
