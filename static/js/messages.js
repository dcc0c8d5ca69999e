// <message-list> is the scrolling part of a room. It finishes what the server cannot know
// (which messages are mine, who goes on speaking, where a day begins) with attributes only,
// and keeps the reader's place: at the end when there, otherwise at the same message; the
// keyboard's place too, when what has the focus is replaced. Damage may have no time.
const pause = 5 * 60 * 1000;
const days = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });
const years = new Intl.DateTimeFormat(undefined, { dateStyle: "full" });
const moment = (li) => new Date(Number(li.dataset.at));

// dated is the next entry with a time in one direction, beginning with the given node.
function dated(node, way) {
	while (node && !node.dataset?.at) node = node[way];
	return node;
}

customElements.define("message-list", class extends HTMLElement {
	connectedCallback() {
		this.list = this.querySelector("#messages");
		this.button = document.getElementById("newest");
		for (const li of this.list.children) this.mark(li);
		this.toBottom();
		this.addEventListener("scroll", () => this.look(), { passive: true });
		this.button.addEventListener("click", () => this.toBottom());
		document.addEventListener("htmx:before:swap", () => this.remember());
		new MutationObserver((changes) => this.changed(changes)).observe(this.list, { childList: true });
		const size = new ResizeObserver(() => this.stuck && this.toBottom());
		for (const part of [this, ...this.children]) size.observe(part);
	}

	mark(li) {
		if (!li?.matches?.("li[data-at]")) return;
		const before = li.previousElementSibling, last = dated(before, "previousElementSibling");
		const at = moment(li), earlier = last && moment(last);
		const newDay = earlier?.toDateString() !== at.toDateString();
		const follows = !newDay && !li.hasAttribute("data-new") && li.dataset.author && li.dataset.author === before.dataset.author && at - earlier < pause;
		li.toggleAttribute("data-mine", li.dataset.author === this.list.dataset.me);
		li.toggleAttribute("data-follows", Boolean(follows));
		if (newDay) li.dataset.day = (at.getFullYear() === new Date().getFullYear() ? days : years).format(at);
		else delete li.dataset.day;
	}

	changed(changes) {
		for (const { addedNodes, nextSibling } of changes) {
			for (const li of addedNodes) this.mark(li);
			this.mark(dated(nextSibling, "nextSibling"));
		}
		if (this.held && document.activeElement === document.body) this.lead(this.held);
		if (this.stuck) return this.toBottom();
		const same = this.anchor?.isConnected ? this.anchor : document.getElementById(this.anchor?.id);
		if (same) this.scrollTop += same.getBoundingClientRect().bottom - this.offset;
		this.anchor = null;
		this.look();
	}

	// open shows the first new message with a little of what stands before, or the end.
	open(fresh) {
		if (!fresh) return this.toBottom();
		this.scrollTop += this.above(fresh);
		this.stuck = false;
		this.last = this.scrollTop;
		this.look();
	}

	// above is how far a message is below the place where a reader begins.
	above(li) {
		return li.getBoundingClientRect().top - this.getBoundingClientRect().top - this.clientHeight / 4;
	}

	// look follows the reader: only scrolling up leaves the end, growing content never does.
	look() {
		const near = this.scrollHeight - this.scrollTop - this.clientHeight < 40;
		this.stuck = near || (this.stuck && this.scrollTop >= this.last);
		this.last = this.scrollTop;
		this.button.hidden = this.stuck;
		this.dispatchEvent(new Event("looked"));
	}

	// remember notes where the first visible message stands just before a swap changes the list.
	remember() {
		this.look();
		this.held = document.activeElement?.closest("#messages > li")?.id;
		this.anchor = this.stuck ? null : this.firstInView();
		this.offset = this.anchor?.getBoundingClientRect().bottom;
	}

	firstInView() {
		const top = this.getBoundingClientRect().top;
		return [...this.list.children].find((li) => li.getBoundingClientRect().bottom > top);
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
		this.last = this.scrollTop;
		this.stuck = this.scrollHeight - this.scrollTop - this.clientHeight < 40;
		this.button.hidden = this.stuck;
		this.dispatchEvent(new Event("looked"));
	}
});
