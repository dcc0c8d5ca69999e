// The link of an invitation is /register#invite=TOKEN; a set-up link and one for a new password
// look alike. The token is moved into its visible field and out of the address.
function fill() {
	const token = /^#(?:setup|invite|reset)=(.+)$/.exec(location.hash)?.[1];
	const field = document.getElementById("token");
	if (!token || !field) return;
	try { field.value = decodeURIComponent(token); } catch { field.value = token; }
	field.closest("details")?.toggleAttribute("open", true);
	history.replaceState(null, "", location.pathname + location.search);
}

fill();
window.addEventListener("hashchange", fill);
