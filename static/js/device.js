// What a person has set for this browser. It lies in localStorage and stands on the root of the
// page as attributes, where the style and other modules look: data-aside, -enter, -keys, -sound, -notify,
// -words, and the ids of the rooms that notify. <device-settings> holds the boxes for it.
const me = document.body.dataset.me;
const root = document.documentElement;
const place = `device:${me}:`;
const touch = matchMedia("(pointer: coarse)").matches && !matchMedia("(any-pointer: fine)").matches;
const usual = { aside: true, enter: !touch, keys: true, sound: false, notify: false, words: false };
const sample = ["Conclave", "Notifications look like this."];

const kept = (name) => localStorage.getItem(place + name);
const keep = (name, value) => localStorage.setItem(place + name, value);
const is = (name) => kept(name) ? kept(name) === "on" : usual[name];
const may = () => is("notify") && window.Notification?.permission === "granted";
const rooms = () => new Set(kept("rooms")?.split(" "));

function apply() {
	for (const name in usual) root.toggleAttribute("data-" + name, name === "notify" ? may() : is(name));
	root.dataset.rooms = [...rooms()].join(" ");
	document.dispatchEvent(new Event("device"));
}

// ask has the browser ask, and shows a first notification to see whether it can.
async function ask() {
	if (!window.Notification) return "unable";
	const answer = await Notification.requestPermission();
	try {
		if (answer === "granted") new Notification(sample[0], { body: sample[1], silent: true, tag: "sample" });
	} catch {
		return "unable";
	}
	return answer;
}

if (me) {
	apply();
	window.addEventListener("storage", ({ key }) => (key ?? place).startsWith(place) && apply());
}

customElements.define("device-settings", class extends HTMLElement {
	connectedCallback() {
		this.boxes = this.querySelectorAll("input");
		for (const part of this.querySelectorAll("[disabled]")) part.disabled = false;
		this.addEventListener("change", ({ target }) => this.changed(target));
		this.querySelector("button")?.addEventListener("click", () => document.dispatchEvent(new Event("ring")));
		document.addEventListener("device", () => this.show());
		this.show();
		if (window.Notification?.permission === "denied") this.say("denied");
	}

	show() {
		for (const box of this.boxes) box.checked = box.name === "room" ? may() && rooms().has(box.value) : root.hasAttribute("data-" + box.name);
	}

	async changed(box) {
		const asks = box.checked && /room|notify/.test(box.name) && !may();
		if (asks) {
			const answer = await ask();
			this.say(answer);
			if (answer !== "granted") return this.show();
			keep("notify", "on");
		}
		if (box.name === "room") {
			const list = rooms();
			list[box.checked ? "add" : "delete"](box.value);
			keep("rooms", [...list].join(" "));
		} else keep(box.name, box.checked ? "on" : "off");
		apply();
	}

	// say shows the paragraph about what the browser answered.
	say(answer) {
		for (const text of this.querySelectorAll("[data-answer]")) text.hidden = text.dataset.answer !== answer;
	}
});
