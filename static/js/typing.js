// Who is writing. Our own notice goes out every two seconds at most, and not at all when it was
// switched off; a name that is not repeated goes after five seconds, or with the person's message.
const text = { one: "{} is writing…", two: "{} and {} are writing…", many: "Several people are writing…" };
const told = document.getElementById("typists");
const line = document.getElementById("typing");
const shown = document.getElementById("shows-typing");
const me = document.body.dataset.me;
const room = document.querySelector(".talk[data-room]")?.dataset.room;
const writers = new Map();
const every = 2000, memory = 5000;
let last = -every;

function notice(event) {
	const silent = !shown.checked || !event.target.value.trim() || document.body.dataset.line !== "up";
	if (silent || performance.now() - last < every) return;
	last = performance.now();
	fetch(`/rooms/${room}/typing`, { method: "POST", headers: { "HX-Request": "true" } }).catch(() => null);
}

function show() {
	const names = [...writers.values()].map(({ name }) => Object.assign(document.createElement("bdi"), { textContent: name }));
	if (names.length > 2) return line.replaceChildren(text.many);
	const [before, ...after] = (["", text.one, text.two])[names.length].split("{}");
	line.replaceChildren(before, ...names.flatMap((name, i) => [name, after[i]]));
}

function forget(who) {
	clearTimeout(writers.get(who)?.timer);
	if (writers.delete(who)) show();
}

function hear() {
	for (const { dataset: { username }, textContent } of told.children) {
		if (username === me) continue;
		clearTimeout(writers.get(username)?.timer);
		writers.set(username, { name: textContent, timer: setTimeout(() => forget(username), memory) });
	}
	show();
}

if (told) {
	const list = document.getElementById("messages");
	document.getElementById("body")?.addEventListener("input", notice);
	new MutationObserver(hear).observe(told, { childList: true });
	new MutationObserver((changes) => {
		for (const { addedNodes } of changes) {
			for (const li of addedNodes) if (li === list.lastElementChild) forget(li.dataset.author);
		}
	}).observe(list, { childList: true });
	// What could not be saved is not shown as if it were.
	document.getElementById("typing-form").addEventListener("htmx:finally:request", (event) => {
		if (event.detail.ctx.response?.status !== 204) shown.checked = !shown.checked;
	});
}
