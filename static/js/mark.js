// How far the reader has read, and the line "New" above what came since. A message is read when it
// has been in sight in a visible tab; the mark goes to the server, at most every two seconds, and
// comes back from there when another device has moved it. The line stays where it is while its
// reader reads on; it goes with their own next message, and moves when something new comes unseen
// after everything was read.
const text = { line: "New", newest: "Jump to newest", newer: "Jump to newest ({} new)" };
const number = new Intl.NumberFormat();
const list = document.getElementById("messages");
const talk = document.querySelector(".talk[data-room]");
const told = document.getElementById("unreads");
const button = document.getElementById("newest");
const every = 2000;
const n = (li) => Number(li?.id.slice(2) ?? 0);
const news = (li) => li.matches(".message:not(.removed)") && li.dataset.author !== list.dataset.me;
const grace = 3000;
let scroller, seen, known, top = 0, flying = 0, line = 0, timer = 0, sent = -every, back = -grace;

// away is nobody looking: in a hidden tab, and for a moment after the line came back, when what
// was missed runs by.
function away() {
	const is = document.hidden || performance.now() < back + grace;
	list.dataset.away = is || "";
	return is;
}

// after are the messages by others that follow a number, the last first.
function after(number) {
	const found = [];
	for (let li = list.lastElementChild; li && n(li) > number; li = li.previousElementSibling) if (news(li)) found.push(li);
	return found;
}

// begin is where the line belongs: after what was read, or above all that is there when what was
// read is further up; older pages do not carry it away.
function begin() {
	return Math.max(seen, n(list.firstElementChild) - 1);
}

// draw puts the line above the first new message. It is an attribute of that message.
function draw() {
	const before = list.querySelector("[data-new]");
	const now = (line && after(line).at(-1)) || null;
	if (before === now) return;
	before?.removeAttribute("data-new");
	now?.setAttribute("data-new", text.line);
	scroller.mark(before);
	scroller.mark(now);
}

// look takes what is in sight as read.
function look() {
	if (!away()) {
		const end = scroller.getBoundingClientRect().bottom + 1;
		let li = list.lastElementChild;
		while (li && n(li) > seen && !scroller.stuck && li.getBoundingClientRect().bottom > end) li = li.previousElementSibling;
		if (li) seen = Math.max(seen, n(li));
	}
	const count = after(seen).length;
	if (list.dataset.seen !== String(seen)) list.dataset.seen = seen;
	if (list.dataset.unread !== String(count)) {
		list.dataset.unread = count;
		button.textContent = count ? text.newer.replace("{}", number.format(count)) : text.newest;
	}
	if (seen > known && !timer) timer = setTimeout(tell, Math.max(0, sent + every - performance.now()));
}

async function tell() {
	clearTimeout(timer);
	timer = 0;
	if (seen <= Math.max(known, flying) || document.body.dataset.line === "down") return;
	const number = flying = seen, body = new URLSearchParams({ n: number });
	sent = performance.now();
	const headers = { "HX-Request": "true", "HX-Request-Type": "partial" };
	const answer = await fetch(`/rooms/${talk.dataset.room}/read`, { method: "POST", keepalive: true, headers, body }).catch(() => null);
	if (answer?.ok) known = Math.max(known, number);
	else timer ||= setTimeout(tell, 5 * every);
	flying = 0;
}

// changed follows the list: what came unseen begins something new if all before it was read.
function changed(changes) {
	const came = changes.flatMap(({ addedNodes }) => [...addedNodes]).filter((li) => n(li) > top);
	top = Math.max(top, n(list.lastElementChild));
	const all = after(seen);
	if (came.some((li) => li.dataset.author === list.dataset.me) && scroller.stuck) line = 0;
	else if (all.length && all.every((li) => came.includes(li)) && (away() || !scroller.stuck)) line = begin();
	draw();
	look();
}

// elsewhere takes over what another device has read.
function elsewhere() {
	const mark = Number(document.getElementById("unread-" + talk.dataset.room)?.dataset.mark ?? 0);
	known = Math.max(known, mark);
	seen = Math.max(seen, mark);
	if (away() && !after(seen).length) line = 0;
	draw();
	look();
}

if (talk) customElements.whenDefined("message-list").then(() => {
	scroller = document.getElementById("scroller");
	seen = known = Number(list.dataset.mark);
	if (list.dataset.new) line = begin();
	top = n(list.lastElementChild);
	draw();
	scroller.open(list.querySelector("[data-new]"));
	scroller.toggleAttribute("data-ready", true);
	look();
	new MutationObserver(changed).observe(list, { childList: true });
	new MutationObserver(elsewhere).observe(told, { childList: true });
	scroller.addEventListener("looked", look);
	document.addEventListener("htmx:sse:after:connection", ({ detail }) => {
		if (detail.connection.attempt) back = performance.now();
		look();
		setTimeout(look, grace);
	});
	for (const act of ["wheel", "pointerdown", "keydown"]) { // somebody is there after all
		document.addEventListener(act, () => { back = -grace; away(); }, { passive: true, capture: true });
	}
	document.addEventListener("visibilitychange", () => { look(); tell(); });
	window.addEventListener("pagehide", tell);
	// Whoever logs out or leaves the room may not tell any more.
	window.addEventListener("submit", (event) => { if (!event.target.hasAttribute("hx-post")) known = Infinity; });
	window.addEventListener("pageshow", () => { known = Math.min(known, seen); });
});
