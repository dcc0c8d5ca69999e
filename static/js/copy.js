// <copy-button> copies the text of what data-from selects; <share-button> hands the link there to
// whatever the device shares with, or copies it where there is nothing; <print-button> prints the page.
const done = "Copied";
const failed = "Please copy by hand";

function textOf(button) {
	return [...document.querySelectorAll(button.dataset.from)].map((part) => part.textContent.trim()).join("\n");
}

class CopyButton extends HTMLElement {
	connectedCallback() {
		this.button = this.querySelector("button");
		this.button.ariaLive = "off"; // what changes on it is said once, by the word beside it
		this.label = this.button.textContent;
		this.said = document.createElement("span");
		this.said.className = "visually-hidden";
		this.said.role = "status";
		this.append(this.said);
		this.hidden = !navigator.clipboard;
		this.button.addEventListener("click", () => this.act());
	}

	async act() {
		const word = await navigator.clipboard.writeText(textOf(this)).then(() => done, () => failed);
		this.button.textContent = this.said.textContent = word;
		clearTimeout(this.timer);
		this.timer = setTimeout(() => {
			this.button.textContent = this.label;
			this.said.textContent = "";
		}, 2000);
	}
}

customElements.define("copy-button", CopyButton);

customElements.define("share-button", class extends CopyButton {
	connectedCallback() {
		super.connectedCallback();
		if (navigator.share) this.hidden = false;
		else this.button.textContent = this.label = this.dataset.copy;
	}

	act() {
		if (!navigator.share) return super.act();
		navigator.share({ title: document.title, url: textOf(this) }).catch((error) => error.name === "AbortError" || super.act());
	}
});

customElements.define("print-button", class extends HTMLElement {
	connectedCallback() {
		this.addEventListener("click", () => window.print());
	}
});
