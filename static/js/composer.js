// <chat-composer> sends what is written and loses none of it. At the moment of sending the
// text leaves the box as a line "on the way" with a client id of its own; htmx queues the
// requests in order. The line goes when its message arrives over the feed; on any failure
// the text comes back into the box, and sent again unchanged it keeps its client id, so that
// an answer lost on the way never posts twice.
const limit = 4000;
const touch = matchMedia("(pointer: coarse)").matches && !matchMedia("(any-pointer: fine)").matches;
const sentences = {
	0: "The server did not answer. Your message is back in the box: send it again in a moment.",
	429: "That was too fast. Wait a moment and send it again.",
};

function newID() {
	const bytes = crypto.getRandomValues(new Uint8Array(16));
	return crypto.randomUUID?.() ?? Array.from(bytes, (b) => b.toString(16).padStart(2, "0")).join("");
}

customElements.define("chat-composer", class extends HTMLElement {
	connectedCallback() {
		this.form = this.querySelector("form");
		this.box = this.querySelector("textarea");
		this.lines = document.getElementById("pending");
		this.scroller = document.getElementById("scroller");
		this.key = "draft:" + this.dataset.room;
		this.waiting = [];
		this.restore();
		this.form.addEventListener("htmx:config:request", (event) => this.take(event));
		this.form.addEventListener("htmx:finally:request", (event) => this.answered(event.detail.ctx));
		this.box.addEventListener("keydown", (event) => this.pressed(event));
		this.box.addEventListener("input", () => this.typed());
		new MutationObserver(() => this.arrived()).observe(document.getElementById("messages"), { childList: true });
	}

	pressed(event) {
		if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
		if (touch && !event.ctrlKey && !event.metaKey) return;
		event.preventDefault();
		if (this.box.value.trim()) this.form.requestSubmit();
	}

	take(event) {
		const text = this.box.value;
		if (!text.trim()) return event.preventDefault();
		const send = { text, id: this.back?.text === text ? this.back.id : newID(), line: this.line(text) };
		event.detail.ctx.send = send;
		event.detail.ctx.request.body.set("body", text);
		event.detail.ctx.request.body.set("client_id", send.id);
		this.waiting.push(send);
		this.back = null;
		this.write("");
		this.note("");
		this.scroller.toBottom();
		this.box.focus();
	}

	answered(ctx) {
		const send = ctx.send;
		const ok = ctx.status === "swapped" && ctx.response.status < 300;
		if (!send) return;
		if (ok) {
			send.posted = document.getElementById("composer-note").dataset.posted;
			send.line.dataset.state = "Sent";
			this.save();
			return this.arrived();
		}
		const status = ctx.response?.status ?? 0;
		const said = status >= 400 && document.getElementById("composer-note").textContent.trim();
		this.drop(send);
		this.putBack(send);
		this.note(said || sentences[status] || sentences[0]);
	}

	// putBack sets returned texts in front of what was typed since, the first sent first.
	putBack(send) {
		const before = this.back && this.box.value.startsWith(this.back.text) ? this.back.text : "";
		const rest = this.box.value.slice(before.length).replace(/^\n/, "");
		const text = before ? before + "\n" + send.text : send.text;
		this.back = before ? { text, id: newID() } : { text, id: send.id };
		this.write(rest ? text + "\n" + rest : text);
	}

	// arrived takes away the lines whose messages the feed has brought.
	arrived() {
		for (const send of [...this.waiting]) {
			if (send.posted && document.getElementById("m-" + send.posted)) this.drop(send);
		}
	}

	drop(send) {
		send.line.remove();
		this.waiting = this.waiting.filter((other) => other !== send);
		this.save();
	}

	line(text) {
		const li = document.createElement("li");
		const body = document.createElement("div");
		li.className = "message";
		li.dataset.state = "Sending…";
		body.className = "body";
		body.dir = "auto";
		body.textContent = text;
		li.append(body);
		this.lines.append(li);
		return li;
	}

	note(text) {
		const note = document.getElementById("composer-note");
		note.textContent = text;
		note.classList.toggle("wrong", text !== "");
	}

	write(text) {
		this.box.value = text;
		this.typed();
	}

	typed() {
		const left = limit - [...this.box.value].length;
		if (left < 200) this.note(left < 0 ? `${-left} too many` : `${left} left`);
		else if (/^\d+ (left|too many)$/.test(document.getElementById("composer-note").textContent)) this.note("");
		if (!CSS.supports("field-sizing", "content")) {
			this.box.style.blockSize = "auto";
			this.box.style.blockSize = this.box.scrollHeight + "px";
		}
		this.save();
	}

	// save keeps what is not surely posted, for a reload or a login in between.
	save() {
		const open = this.waiting.filter((send) => !send.posted);
		const text = [...open.map((send) => send.text), this.box.value].filter((part) => part.trim()).join("\n");
		const id = [...open, this.back].find((send) => send?.text === text)?.id;
		if (text) sessionStorage.setItem(this.key, JSON.stringify({ text, id }));
		else sessionStorage.removeItem(this.key);
	}

	restore() {
		const kept = JSON.parse(sessionStorage.getItem(this.key) ?? "{}");
		if (kept.id) this.back = { text: kept.text, id: kept.id };
		if (!this.box.value && kept.text) this.write(kept.text);
	}
});
