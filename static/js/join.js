// An invitation link is /join#CODE; /join#main is the way past the header. The code is kept in this tab through login and
// registration, filled into the form wherever that stands, and forgotten once it is sent.
const key = "join-code";

if (location.pathname === "/join" && location.hash.length > 1 && location.hash !== "#main") {
	let code = location.hash.slice(1);
	try { code = decodeURIComponent(code); } catch { /* not escaped, then */ }
	sessionStorage.setItem(key, code.slice(0, 64));
	history.replaceState(null, "", location.pathname + location.search);
}

if (location.pathname === "/join") window.addEventListener("hashchange", () => location.hash !== "#main" && location.reload());

customElements.define("join-keeper", class extends HTMLElement {
	connectedCallback() {
		const code = sessionStorage.getItem(key);
		const field = this.querySelector("input[name=code]");
		this.querySelector("form")?.addEventListener("submit", () => sessionStorage.removeItem(key));
		if (!code || field?.value) return;
		if (field) field.value = code;
		this.querySelector("[data-kept]").hidden = false;
	}
});
