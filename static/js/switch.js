// <room-switch> is a list of rooms with a filter: on the page of all of them, and beside or over a
// room. Typing narrows it, the arrow keys move through it, Enter goes to the room that is marked,
// Escape empties the filter and then closes the list. Ctrl+K, or ⌘K, leads to it from everywhere.
const drafted = "Draft";
const apple = /^(Mac|iP)/.test(navigator.platform);
const fold = (text) => text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();
const modal = () => document.querySelector("dialog[open]");

customElements.define("room-switch", class extends HTMLElement {
	connectedCallback() {
		this.field = this.querySelector(".find");
		this.none = this.querySelector(".no-such-room");
		this.sheet = this.closest("[popover]");
		this.addEventListener("keydown", (event) => this.pressed(event));
		this.field?.addEventListener("input", () => this.narrow());
		this.sheet?.addEventListener("toggle", ({ newState }) => newState === "open" ? this.opened() : this.empty());
		new MutationObserver(() => this.narrow()).observe(this.querySelector(".your-rooms, ul"), { childList: true });
		matchMedia("(width >= 80rem)").addEventListener("change", () => this.sheet?.hidePopover());
		for (const link of this.links()) this.mention(link);
		this.narrow();
	}

	links() {
		return [...this.querySelectorAll("li:not([hidden]) a:has(> bdi)")];
	}

	// mention says of a room that something unsent was written there.
	mention(link) {
		const draft = sessionStorage.getItem(`draft:${link.pathname.split("/").pop()}:${document.body.dataset.me}`);
		if (!draft || link.ariaCurrent || !this.sheet) return;
		const word = document.createElement("span");
		word.className = "hint";
		word.textContent = drafted;
		link.firstElementChild.after(word);
	}

	// narrow shows the rooms whose names have every word of the filter in them, and marks the one
	// that Enter leads to: the first, but for the room that is open.
	narrow() {
		const words = fold(this.field?.value ?? "").split(/\s+/);
		for (const li of this.querySelectorAll("li")) {
			const name = fold(li.querySelector("a > bdi")?.textContent ?? "");
			const hidden = !words.every((word) => name.includes(word));
			if (li.hidden !== hidden) li.hidden = hidden;
		}
		const links = this.links();
		this.goal?.removeAttribute("data-goal");
		this.goal = links.find((link) => !link.ariaCurrent) ?? links[0];
		this.goal?.setAttribute("data-goal", "");
		this.none.textContent = links.length || !words[0] ? "" : this.none.dataset.none;
	}

	empty() {
		if (this.field) this.field.value = "";
		this.narrow();
	}

	pressed(event) {
		const { key, target } = event;
		if (event.defaultPrevented || event.isComposing || event.ctrlKey || event.metaKey || event.altKey) return;
		const links = this.links(), at = links.indexOf(target), step = { ArrowUp: -1, ArrowDown: 1 }[key];
		if (step && (at >= 0 || target === this.field)) (links[at + step] ?? (step < 0 ? this.field : null))?.focus();
		else if (target === this.field && key === "Enter") this.goal?.click();
		else if (key === "Escape" && this.field?.value) this.empty(), this.field.focus();
		else if (key === "Escape" && this.from && !this.sheet?.matches(":popover-open")) this.leave();
		else return;
		event.preventDefault();
	}

	// open brings the list up, or leads back where somebody came from when it is there already.
	open() {
		if (this.contains(document.activeElement)) return this.leave();
		this.from = document.activeElement;
		if (this.sheet && !this.sheet.getClientRects().length) this.sheet.showPopover();
		(this.field ?? this.links()[0])?.focus();
	}

	// opened is also what a tap does; a keyboard on the screen would cover the list.
	opened() {
		this.querySelector("[aria-current]")?.scrollIntoView({ block: "nearest" });
		if (matchMedia("(hover: hover)").matches) this.field.focus();
	}

	leave() {
		if (this.sheet?.matches(":popover-open")) return this.sheet.hidePopover();
		if (this.from?.isConnected && this.from !== document.body) this.from.focus();
		else document.activeElement.blur();
		this.from = null;
	}
});

if (document.body.dataset.me) {
	document.addEventListener("keydown", (event) => {
		const held = apple ? event.metaKey && !event.ctrlKey : event.ctrlKey && !event.metaKey;
		if (!held || event.altKey || event.shiftKey || event.key?.toLowerCase() !== "k" || modal()) return;
		event.preventDefault();
		const list = document.querySelector("room-switch");
		if (list) list.open();
		else location.assign("/rooms#find");
	});
	if (location.hash === "#find") {
		history.replaceState(null, "", location.pathname + location.search);
		document.querySelector("room-switch")?.open();
	}
}
