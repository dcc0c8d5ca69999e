// <chat-composer> is the box a message is written in. At the moment of sending the text leaves
// it for the <out-box>, which gives back what the server refuses. A draft outlives a reload and
// is known to this person only.
const limit = 4000;
const root = document.documentElement;
const ctrl = /Mac|iP/.test(navigator.platform) ? "⌘" : "Ctrl";
const text = {
	sends: "Enter sends, Shift+Enter begins a new line.",
	breaks: `Enter begins a new line, ${ctrl}+Enter sends.`,
	box: `{} (${ctrl}+Enter sends)`,
	unanswered: "The server could not take this message, and it is back in the box. Send it again in a moment.",
	left: "{} left",
	over: "{} too many",
};
const number = new Intl.NumberFormat();

customElements.define("chat-composer", class extends HTMLElement {
	connectedCallback() {
		this.form = this.querySelector("form");
		this.box = this.querySelector("textarea");
		this.scroller = document.getElementById("scroller");
		this.outbox = document.querySelector("out-box");
		this.key = `draft:${this.dataset.room}:${document.body.dataset.me}`;
		this.form.noValidate = true; // the out-box sends while the box is empty
		if (!this.box.value) this.restore(sessionStorage.getItem(this.key) ?? "");
		this.addEventListener("submit", (event) => this.take(event), { capture: true }); // before htmx, which may not be there yet
		this.box.addEventListener("keydown", (event) => this.pressed(event));
		this.box.addEventListener("input", () => this.typed());
		this.outbox.addEventListener("returned", (event) => this.putBack(event.detail));
		document.addEventListener("device", () => this.explain());
		window.addEventListener("resize", () => this.grow());
	}

	// restore shows one line of a draft until the box is entered: growing by itself, so late, it would move the messages.
	restore(draft) {
		if (this.box.matches(":focus")) return this.write(draft);
		this.box.value = draft;
		this.box.toggleAttribute("data-kept", draft !== "");
		this.box.addEventListener("focus", () => this.typed(), { once: true });
	}

	// explain says what Enter does: always to who cannot see, and to all others when it is not usual.
	explain() {
		const enter = root.hasAttribute("data-enter");
		const glass = matchMedia("(pointer: coarse)").matches;
		document.getElementById("composer-keys").textContent = enter ? text.sends : text.breaks;
		this.label ??= this.box.placeholder;
		this.box.placeholder = enter || glass ? this.label : text.box.replace("{}", this.label);
		this.box.enterKeyHint = enter ? "send" : "enter";
	}

	pressed(event) {
		if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
		if (!root.hasAttribute("data-enter") && !event.ctrlKey && !event.metaKey) return;
		event.preventDefault();
		this.form.requestSubmit();
	}

	take(event) {
		const body = this.box.value;
		event.preventDefault();
		event.stopPropagation();
		this.box.focus();
		if (!body.trim()) return;
		this.write("");
		this.note("");
		this.outbox.add(body, crypto.randomUUID());
		this.scroller.toBottom();
	}

	// putBack sets a returned text in front of what was typed since.
	putBack({ text: body, reason }) {
		const rest = this.box.value;
		this.write(rest ? body + "\n" + rest : body);
		this.note(reason || text.unanswered);
	}

	note(said) {
		const note = document.getElementById("composer-note");
		note.textContent = said;
		note.classList.toggle("wrong", said !== "");
		this.counting = false;
	}

	write(body) {
		this.box.value = body;
		this.typed();
	}

	typed() {
		this.box.removeAttribute("data-kept");
		const left = limit - [...this.box.value].length;
		if (left < 200) {
			this.note((left < 0 ? text.over : text.left).replace("{}", number.format(Math.abs(left))));
			this.counting = true;
		} else if (this.counting) this.note("");
		this.grow();
		if (this.box.value.trim()) sessionStorage.setItem(this.key, this.box.value);
		else sessionStorage.removeItem(this.key);
	}

	// grow gives the box the height of its text where the style cannot (field-sizing).
	grow() {
		if (CSS.supports("field-sizing", "content")) return;
		this.box.style.blockSize = "auto";
		this.box.style.blockSize = this.box.scrollHeight + this.box.offsetHeight - this.box.clientHeight + "px";
	}
});
