// Who is here. The feed says user names; they are put on the list of members, again whenever that
// was replaced. Who comes and goes is said for a moment, never about the reader.
const told = document.getElementById("presence");
const members = document.getElementById("members");
const lines = document.getElementById("comings");
const me = document.body.dataset.me;
const moment = 6000;
let here = null;

function mark() {
	if (!here) return;
	for (const li of members.children) li.toggleAttribute("data-here", here.has(li.dataset.username));
	for (const count of document.querySelectorAll(".here-count")) count.textContent = `${here.size} here`;
}

function say(kind, what) {
	const people = [...told.querySelectorAll(`[data-${kind}]`)].filter((one) => one.dataset[kind] !== me);
	if (!people.length) return;
	const line = document.createElement("p");
	const name = document.createElement("bdi");
	const others = people.length - 1;
	name.textContent = people[0].textContent;
	line.append(name, others ? ` and ${others} ${others > 1 ? "others" : "other"} ${what}` : ` ${what}`);
	lines.append(line);
	setTimeout(() => line.remove(), moment);
}

function hear() {
	here = new Set(told.querySelector("[data-here]")?.dataset.here.split(" ").filter(Boolean));
	mark();
	say("entered", "entered");
	say("left", "left");
}

if (told) {
	new MutationObserver(hear).observe(told, { childList: true });
	if (told.firstElementChild) hear(); // the feed was quicker than this script
	new MutationObserver(mark).observe(members, { childList: true });
}
