// A set-up link or invitation is /register#setup=TOKEN. The token is moved into its visible
// field and out of the address.
const token = /^#(?:setup|token|invite)=(.+)$/.exec(location.hash)?.[1];
const field = document.getElementById("token");

if (token && field) {
	try { field.value = decodeURIComponent(token); } catch { field.value = token; }
	field.closest("details").open = true;
	history.replaceState(null, "", location.pathname + location.search);
}
