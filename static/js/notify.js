// A sound and a notification when somebody writes and nobody looks, if they were switched on. Of
// its own room a page knows the messages; of others the feed says how many are unread. Locks, which
// all tabs share, see to it that one tab does it, and none while a person looks at any of them.
const root = document.documentElement;
const { me } = document.body.dataset;
const told = document.getElementById("unreads");
const list = document.getElementById("messages");
const here = document.querySelector(".talk[data-room]")?.dataset.room;
const elsewhere = "Another room";
const wordless = "New message";
const most = 200; // characters of a message
const pause = 3000; // between two sounds, and between two notices of a room that no tab shows
const number = (li) => Number(li?.id.slice(2) ?? 0);
const mark = () => Number(document.getElementById("unread-" + here)?.dataset.mark ?? 0);
const looks = () => !document.hidden && document.hasFocus();
const lock = (name, options, held) => navigator.locks.request(`${me}:${name}`, options, held);
const shown = new Set();
let looking, release, counts, last, top = 0, current = true;

// look holds a lock for as long as somebody looks at this page.
async function look() {
	if (!looks()) return release?.();
	for (const notice of shown) notice.close();
	if (looking) return;
	looking = true;
	await lock("looking", { mode: "shared" }, () => looks() && new Promise((done) => { release = done; }));
	looking = false;
	if (looks()) look();
}

// once does something unless a tab has just done it.
function once(name, act) {
	lock(name, { ifAvailable: true }, (free) => free && (act(), new Promise((done) => setTimeout(done, pause))));
}

async function call(room, words = wordless, n = 0) {
	if (looks()) return;
	const { held } = await navigator.locks.query();
	const is = (name) => held.some((one) => one.name === `${me}:${name}`);
	if (is("looking")) return;
	const touched = navigator.userActivation?.hasBeenActive !== false; // else it may not play
	if (root.hasAttribute("data-sound") && touched) once("sound", () => document.dispatchEvent(new Event("ring")));
	const wanted = root.hasAttribute("data-notify") && root.dataset.rooms.split(" ").includes(room);
	if (wanted && (room === here || !is("shows " + room))) once(room + n, () => show(room, words, n));
}

function show(room, words, data) {
	const name = document.querySelector(room === here ? ".room-name" : `a[href="/rooms/${room}"] bdi`)?.textContent ?? elsewhere;
	const body = root.hasAttribute("data-words") ? words : wordless;
	const icon = document.querySelector("link[rel=apple-touch-icon]").href;
	try {
		const notice = new Notification(name, { body, data, icon, tag: room, renotify: true, silent: true });
		shown.add(notice);
		notice.addEventListener("close", () => shown.delete(notice));
		notice.addEventListener("click", () => {
			window.focus();
			notice.close();
			if (room !== here) location.assign("/rooms/" + room);
		});
	} catch { /* a browser that cannot; the settings say so when they are switched on */ }
}

// came notes the last message by others that is new here. An edited one is not.
function came(changes) {
	for (const li of changes.flatMap(({ addedNodes }) => [...addedNodes])) {
		if (number(li) > top && li.matches(".message:not(.removed)") && li.dataset.author !== me) last = li;
	}
	top = Math.max(top, number(list.lastElementChild));
	tell();
}

// tell waits, after the line was down, for the feed to say what has been read elsewhere meanwhile.
function tell() {
	if (!last || !current) return;
	const words = [".author", ".body"].map((part) => last.querySelector(part).textContent.trim()).join(": ");
	if (number(last) > mark()) call(here, [...words].slice(0, most).join(""), number(last));
	last = null;
}

function heard() {
	current = true;
	tell();
	const before = counts;
	counts = new Map([...told.children].map(({ id, dataset }) => [id.slice("unread-".length), Number(dataset.count)]));
	const read = ({ data, tag }) => data ? data <= mark() : before?.get(tag) && !counts.get(tag);
	for (const notice of shown) if (read(notice)) notice.close();
	for (const [room, count] of counts) if (room !== here && count > (before?.get(room) ?? count)) call(room);
}

if (told && navigator.locks) {
	for (const event of ["focus", "blur"]) window.addEventListener(event, look);
	document.addEventListener("visibilitychange", look);
	look();
	new MutationObserver(heard).observe(told, { childList: true });
	if (told.firstElementChild) heard();
	if (here) {
		lock("shows " + here, { mode: "shared" }, () => new Promise(() => {}));
		top = number(list.lastElementChild);
		new MutationObserver(came).observe(list, { childList: true });
		document.addEventListener("htmx:sse:after:connection", () => { current = false; });
	}
}
