// <copy-button> copies the text of what data-from selects; <print-button> prints the page.
customElements.define("copy-button", class extends HTMLElement {
	connectedCallback() {
		const button = this.querySelector("button");
		const label = button.textContent;
		this.hidden = !navigator.clipboard;
		button.addEventListener("click", async () => {
			const parts = [...document.querySelectorAll(this.dataset.from)].map((part) => part.textContent.trim());
			try {
				await navigator.clipboard.writeText(parts.join("\n"));
				button.textContent = "Copied";
			} catch {
				button.textContent = "Please copy by hand";
			}
			setTimeout(() => { button.textContent = label; }, 2000);
		});
	}
});

customElements.define("print-button", class extends HTMLElement {
	connectedCallback() {
		this.addEventListener("click", () => window.print());
	}
});
