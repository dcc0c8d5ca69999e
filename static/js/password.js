// <password-field> lets a person look at what they type. Its input survives a swap of the
// form, so what the new form says about it is written onto it here.
const text = { show: "Show", hide: "Hide" };

customElements.define("password-field", class extends HTMLElement {
	connectedCallback() {
		const button = this.querySelector("button");
		button.addEventListener("click", () => this.show(this.input.type === "password"));
		queueMicrotask(() => this.finish()); // after htmx has put the kept input back
	}

	get input() {
		return this.querySelector("input");
	}

	finish() {
		this.show(this.input.type === "text");
		if (this.dataset.wrong === "true") this.input.ariaInvalid = "true";
		else this.input.removeAttribute("aria-invalid");
	}

	show(shown) {
		const button = this.querySelector("button");
		this.input.type = shown ? "text" : "password";
		button.textContent = shown ? text.hide : text.show;
		button.ariaPressed = String(shown);
	}
});
