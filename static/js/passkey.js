// <passkey-step> lets the browser sign a form with a passkey, or make one: it asks the server for a
// challenge, hands it over, and sends the form with the answer in it. What went wrong is said by
// the paragraph of that name beside the button.
const able = Boolean(window.PublicKeyCredential?.parseRequestOptionsFromJSON);

customElements.define("passkey-step", class extends HTMLElement {
	connectedCallback() {
		this.hidden = !able;
		if (!able) return;
		this.querySelector("button").addEventListener("click", (event) => {
			event.preventDefault();
			if (!this.running && window.htmx) this.running = this.run().finally(() => { this.running = null; });
		});
	}

	async run() {
		const form = this.closest("form");
		const { code, passkey } = form.elements;
		if (code) code.required = false;
		passkey.value = form.reportValidity() ? await this.answer(form) : "";
		if (passkey.value) form.requestSubmit();
		else if (code) code.required = true;
	}

	async answer(form) {
		this.say("");
		const place = this.querySelector("[data-challenge]");
		place.replaceChildren();
		const values = this.dataset.make ? { name: form.elements.name.value } : {};
		await htmx.ajax("POST", this.dataset.ask, { target: place, values });
		const text = place.querySelector("[data-options]")?.dataset.options;
		if (!text) return this.say(place.firstElementChild ? "" : "away");
		try {
			return JSON.stringify(await this.ceremony(JSON.parse(text)));
		} catch (error) {
			const refused = error.name === "SecurityError" || /certificate/i.test(error.message);
			return this.say(refused ? "certificate" : error.name === "InvalidStateError" ? "known" : "unused");
		}
	}

	ceremony(options) {
		const { credentials } = navigator;
		if (this.dataset.make) return credentials.create({ publicKey: PublicKeyCredential.parseCreationOptionsFromJSON(options) });
		return credentials.get({ publicKey: PublicKeyCredential.parseRequestOptionsFromJSON(options) });
	}

	// say shows the paragraph about a trouble and hides the others. It returns no answer.
	say(trouble) {
		for (const text of this.querySelectorAll("[data-trouble]")) text.hidden = text.dataset.trouble !== trouble;
		return "";
	}
});
