// Who is here. The feed says user names; they are put on the list of members, again whenever that
// was replaced. Who comes and goes is said for a moment, never about the reader.
const text = {
	here: "{} here",
	entered: { alone: "{} entered", one: "{} and {} other entered", other: "{} and {} others entered" },
	left: { alone: "{} left", one: "{} and {} other left", other: "{} and {} others left" },
};
const number = new Intl.NumberFormat();
const plural = new Intl.PluralRules(document.documentElement.lang);
const told = document.getElementById("presence");
const members = document.getElementById("members");
const lines = document.getElementById("comings");
const me = document.body.dataset.me;
const moment = 6000;
let here = null;

function mark() {
	if (!here) return;
	for (const li of members.children) li.toggleAttribute("data-here", here.has(li.dataset.username));
	for (const count of document.querySelectorAll(".here-count")) count.textContent = text.here.replace("{}", number.format(here.size));
}

// keep lets the list and the code stay as high as they are, whoever joins and whatever becomes of the code, so that
// nothing moves below them; what is more in the list scrolls.
function keep() {
	for (const [part, size] of [[members, "blockSize"], [document.getElementById("code"), "minBlockSize"]]) {
		part.style[size] = "";
		if (part.offsetHeight) part.style[size] = part.offsetHeight + "px";
	}
	reach();
}

function reach() {
	if (members.scrollHeight > members.clientHeight) members.tabIndex = 0;
	else members.removeAttribute("tabindex");
}

function say(kind) {
	const people = [...told.querySelectorAll(`[data-${kind}]`)].filter((one) => one.dataset[kind] !== me);
	if (!people.length) return;
	const line = document.createElement("p");
	const name = document.createElement("bdi");
	const others = people.length - 1;
	name.textContent = people[0].textContent;
	const [before, after, end] = text[kind][others ? plural.select(others) : "alone"].split("{}");
	line.append(before, name, others ? after + number.format(others) + end : after);
	lines.append(line);
	setTimeout(() => line.remove(), moment);
}

function hear() {
	here = new Set(told.querySelector("[data-here]")?.dataset.here.split(" ").filter(Boolean));
	mark();
	say("entered");
	say("left");
}

if (told) {
	new MutationObserver(hear).observe(told, { childList: true });
	if (told.firstElementChild) hear(); // the feed was quicker than this script
	new MutationObserver(() => (mark(), reach())).observe(members, { childList: true });
	document.getElementById("panel").addEventListener("toggle", keep); // the sheet of a phone
	keep();
}
