// What may be done to a message. <actions-dialog> opens the page of a message in the room's
// dialog instead of leaving the room; a click that asks for a new tab stays one.
// <message-actions> is what stands in it, or on that page.
const toEnd = (box) => box?.setSelectionRange(box.value.length, box.value.length);
const key = (event) => event.key === "Enter" && (event.ctrlKey || event.metaKey);

customElements.define("actions-dialog", class extends HTMLElement {
	connectedCallback() {
		this.dialog = this.querySelector("dialog");
		this.inside = this.querySelector("#message-dialog-body");
		this.said = this.dialog.querySelector(".problem-slot");
		this.list = document.getElementById("scroller");
		this.list.addEventListener("click", (event) => this.clicked(event));
		document.getElementById("body")?.addEventListener("keydown", (event) => this.pressed(event));
		this.dialog.querySelector("button").addEventListener("click", () => this.dialog.close());
		this.dialog.addEventListener("close", () => this.closed());
	}

	clicked(event) {
		const link = event.target.closest(".act, .stamp");
		if (!link || !window.htmx || event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
		event.preventDefault();
		this.open(link);
	}

	// pressed: the arrow up in an empty box leads to the last message one has written.
	pressed(event) {
		if (event.key !== "ArrowUp" || !window.htmx || event.target.value || event.isComposing || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
		const link = [...this.list.querySelectorAll("#messages > [data-mine] > .act")].at(-1);
		if (!link) return;
		event.preventDefault();
		this.open(link, event.target);
	}

	async open(link, from) {
		this.asked = link;
		this.from = from;
		this.message = link.closest("li").id;
		await htmx.ajax("GET", link.pathname, { source: this.dialog, target: this.inside });
		const filled = this.inside.firstElementChild || this.said.firstElementChild;
		if (this.asked !== link || !filled || this.dialog.open) return;
		this.dialog.showModal();
		toEnd(this.inside.querySelector("textarea")); // Safari forgets what was set while the dialog was closed
	}

	// closed leaves no text behind, and leads back to where one came from. The message may have
	// been replaced meanwhile.
	closed() {
		this.inside.replaceChildren();
		this.said.replaceChildren();
		if (this.from) this.from.focus();
		else this.list.lead(this.message);
	}
});

customElements.define("message-actions", class extends HTMLElement {
	connectedCallback() {
		const box = this.querySelector("textarea");
		box?.addEventListener("keydown", (event) => key(event) && box.form.requestSubmit());
		toEnd(box);
		if (this.querySelector(".problem")) box?.focus();
		this.addEventListener("htmx:finally:request", (event) => this.answered(event.detail.ctx.response));
	}

	answered(response) {
		const dialog = this.closest("dialog");
		if (response?.status !== 204) return;
		if (dialog) dialog.close();
		else location.assign(this.dataset.back);
	}
});
