// <out-box> keeps what was sent until its message stands in the room, over a lost line and a
// reload. One message is on its way at a time, so that they arrive in order; each keeps the
// client id it was given, so that none is posted twice. What the server refuses for good goes
// back to the composer; everything else waits and is tried again.
const says = { queued: "Waiting…", moment: "Waiting a moment…", line: "Waiting for the line…", sending: "Sending…", sent: "Sent" };
const tries = 5; // of the server's own faults, before a message is given back

customElements.define("out-box", class extends HTMLElement {
	connectedCallback() {
		this.lines = this.querySelector("ul");
		this.messages = document.getElementById("messages");
		this.form = document.getElementById("composer");
		this.key = `outbox:${this.dataset.room}:${this.messages.dataset.me}`;
		this.sends = [];
		if (!this.form) return;
		this.form.addEventListener("htmx:finally:request", (event) => event.detail.ctx.send && this.answered(event.detail.ctx));
		document.addEventListener("htmx:sse:after:connection", () => this.next());
		window.addEventListener("online", () => this.next());
		new MutationObserver(() => this.arrived()).observe(this.messages, { childList: true });
		for (const { text, id } of JSON.parse(sessionStorage.getItem(this.key) ?? "[]")) this.add(text, id);
	}

	add(text, id) {
		this.sends.push({ text, id, line: this.line(text), faults: 0 });
		this.save();
		this.next();
	}

	// next sends the first message that has not been accepted.
	async next() {
		clearTimeout(this.timer);
		const send = this.sends.find((one) => !one.posted);
		if (!send || this.sending || !window.htmx) return; // the feed opens as soon as htmx has come
		if (!navigator.onLine) return this.wait(says.line);
		this.sending = send;
		send.line.dataset.state = says.sending;
		const values = { body: send.text, client_id: send.id };
		await htmx.ajax("POST", this.form.getAttribute("hx-post"), { source: this.form, send, values });
		if (this.sending === send) this.sending = null; // it was never asked
	}

	answered({ send, status, response }) {
		const note = document.getElementById("composer-note");
		const code = response?.status ?? 0;
		this.sending = null;
		if (status === "swapped" && code < 300) {
			send.posted = note.dataset.posted;
			send.line.dataset.state = says.sent;
			this.save();
			this.arrived();
		} else if (code === 429) {
			note.textContent = "";
			return this.wait(says.moment, Number(response.headers.get("Retry-After")) || 2);
		} else if (code < 400 || code === 408 || (code >= 500 && ++send.faults < tries)) {
			if (code) note.textContent = "";
			return this.wait(says.line, code || document.body.dataset.line === "up" ? 2 + 2 * send.faults : 15);
		} else {
			const reason = note.textContent.trim();
			this.drop(send);
			this.dispatchEvent(new CustomEvent("returned", { detail: { text: send.text, reason } }));
		}
		setTimeout(() => this.next());
	}

	// wait says why, and tries again after some seconds; a line that comes back is quicker.
	wait(why, seconds) {
		for (const send of this.sends) if (!send.posted) send.line.dataset.state = why;
		if (seconds) this.timer = setTimeout(() => this.next(), seconds * 1000);
	}

	// arrived takes away the lines whose messages the feed has brought, or brought long ago.
	arrived() {
		const first = Number(this.messages.firstElementChild?.id.slice(2));
		for (const send of [...this.sends]) {
			if (send.posted && (send.posted < first || document.getElementById("m-" + send.posted))) this.drop(send);
		}
	}

	drop(send) {
		send.line.remove();
		this.sends = this.sends.filter((one) => one !== send);
		this.save();
	}

	line(text) {
		const li = document.createElement("li");
		const body = document.createElement("div");
		li.className = "message";
		li.dataset.state = this.sends.length ? says.queued : says.sending;
		body.className = "body";
		body.dir = "auto";
		body.textContent = text;
		li.append(body);
		this.lines.append(li);
		return li;
	}

	save() {
		const open = this.sends.filter((send) => !send.posted).map(({ text, id }) => ({ text, id }));
		if (open.length) sessionStorage.setItem(this.key, JSON.stringify(open));
		else sessionStorage.removeItem(this.key);
	}
});
