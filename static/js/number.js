// <local-number> shows a number in the reader's own digits and grouping.
const format = new Intl.NumberFormat();

customElements.define("local-number", class extends HTMLElement {
	connectedCallback() {
		this.dataset.n ??= this.textContent; // it may be moved, and be here already
		if (Number.isFinite(+this.dataset.n)) this.textContent = format.format(this.dataset.n);
	}
});
