// <message-list> is the scrolling part of a room. It finishes what the server cannot know
// (which messages are mine, who goes on speaking, where a day begins) with attributes only,
// and keeps the reader's place: at the end when there, otherwise at the same message; the
// keyboard's place too, when what has the focus is replaced. Damage has no time.
const pause = 5 * 60 * 1000;
const days = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });
const years = new Intl.DateTimeFormat(undefined, { dateStyle: "full" });
const at = (li) => li?.querySelector?.("time")?.dateTime;
const moment = (li) => new Date(at(li));

// dated is the next entry with a time in one direction, beginning with the given node.
function dated(node, way) {
	while (node && !at(node)) node = node[way];
	return node;
}

customElements.define("message-list", class extends HTMLElement {
	connectedCallback() {
		this.list = this.querySelector("#messages");
		this.button = document.getElementById("newest");
		this.seams = new Set(); // entries that older ones were put before, and that look as if none had been
		for (const li of this.list.children) this.mark(li);
		this.addEventListener("scroll", () => this.look(), { passive: true });
		this.button.addEventListener("click", () => this.toBottom());
		document.addEventListener("htmx:before:swap", (event) => this.remember(event));
		new MutationObserver((changes) => this.changed(changes)).observe(this.list, { childList: true });
		const size = new ResizeObserver(() => this.resized());
		for (const part of [this, ...this.children]) size.observe(part);
	}

	mark(li) {
		if (!at(li)) return;
		const before = li.previousElementSibling, last = dated(before, "previousElementSibling");
		const now = moment(li), earlier = last && moment(last);
		const newDay = earlier?.toDateString() !== now.toDateString();
		const follows = !newDay && !li.hasAttribute("data-new") && li.dataset.author && li.dataset.author === before.dataset.author && now - earlier < pause;
		li.toggleAttribute("data-mine", li.dataset.author === this.list.dataset.me);
		li.toggleAttribute("data-follows", Boolean(follows));
		if (newDay) li.dataset.day = (now.getFullYear() === new Date().getFullYear() ? days : years).format(now);
		else delete li.dataset.day;
	}

	changed(changes) {
		for (const { addedNodes, nextSibling } of changes) {
			for (const li of addedNodes) this.mark(li);
			const next = dated(nextSibling, "nextSibling");
			if (!this.seams.has(next)) this.mark(next);
		}
		if (this.held && document.activeElement === document.body) this.lead(this.held);
		if (this.stuck) return this.toBottom();
		const same = this.anchor?.isConnected ? this.anchor : document.getElementById(this.anchor?.id);
		if (same) this.scrollTop += same.getBoundingClientRect().bottom - this.offset;
		this.anchor = null;
		this.look();
	}

	// open shows the first new message with a little of what stands before, or the end; before that
	// nothing has been measured (mark.js).
	open(fresh) {
		if (!fresh) return this.toBottom();
		this.scrollTop += this.above(fresh);
		this.stuck = false;
		this.last = this.scrollTop;
		this.look();
	}

	// resized keeps the place when the window or what stands above has another size: the end, or the
	// first message that is in view whole.
	resized() {
		if (this.stuck) return this.toBottom();
		if (this.place?.li.isConnected) this.scrollTop += this.below(this.place.li) - this.place.offset;
		this.place = null;
		this.look();
	}

	below(li) {
		return li.getBoundingClientRect().top - this.getBoundingClientRect().top;
	}

	// above is how far a message is below the place where a reader begins.
	above(li) {
		return this.below(li) - this.clientHeight / 4;
	}

	// look follows the reader: only scrolling up leaves the end, growing content never does.
	look() {
		const near = this.scrollHeight - this.scrollTop - this.clientHeight < 40;
		this.stuck = near || (this.stuck && this.scrollTop >= this.last);
		this.stands();
		clearTimeout(this.calm);
		if (this.seams.size) this.calm = setTimeout(() => this.mend(), 150); // never while a finger moves the list
	}

	// mend lets entries that are out of view look as they must with the older ones before them.
	mend() {
		for (const li of this.seams) {
			if (this.inView(li)) continue;
			this.seams.delete(li);
			this.mark(li);
			this.resized();
		}
	}

	stands() {
		this.last = this.scrollTop;
		this.button.hidden = this.stuck;
		if (!this.place || this.place.width === this.clientWidth) { // else the window has just become another one
			const li = this.firstInView("top") ?? this.list.lastElementChild;
			this.place = li && { li, offset: this.below(li), width: this.clientWidth };
		}
		this.dispatchEvent(new Event("looked"));
	}

	inView(li) {
		const { top, bottom } = li.getBoundingClientRect(), box = this.getBoundingClientRect();
		return bottom > box.top && top < box.bottom;
	}

	// remember notes where the first visible message stands just before a swap changes the list.
	// What an older page is put in front of keeps its look for as long as it is in view.
	remember(event) {
		this.look();
		this.held = document.activeElement?.closest("#messages > li")?.id;
		this.anchor = this.stuck ? null : this.firstInView("bottom");
		this.offset = this.anchor?.getBoundingClientRect().bottom;
		const first = this.list.firstElementChild;
		if (first && ["older", "scroller"].includes(event?.target.id)) this.seams.add(first);
	}

	// firstInView is the first entry that has that edge below the upper one of the list.
	firstInView(edge) {
		const top = this.getBoundingClientRect().top, { children } = this.list;
		let from = 0, to = children.length;
		while (from < to) {
			const middle = (from + to) >> 1;
			if (children[middle].getBoundingClientRect()[edge] > top) to = middle;
			else from = middle + 1;
		}
		return children[from];
	}

	// lead puts the focus on what belongs to a message, or on the list when nothing does.
	lead(id) {
		(document.querySelector(`#${id} > .act`) ?? this).focus({ preventScroll: true });
	}

	// toBottom goes to the end; while nobody looks, only as far as what is unseen stays in view.
	toBottom() {
		let fresh = null;
		const { away, seen } = this.list.dataset;
		for (let li = this.list.lastElementChild; away && li?.id.slice(2) > Number(seen); li = li.previousElementSibling) fresh = li;
		const room = fresh ? this.above(fresh) : Infinity;
		this.scrollTop = Math.min(this.scrollHeight - this.clientHeight, this.scrollTop + room);
		this.stuck = this.scrollHeight - this.scrollTop - this.clientHeight < 40;
		this.stands();
	}
});
