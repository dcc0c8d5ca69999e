// The feed of a page: when to leave the page, and when to say that the line is down. Other
// modules ask data-line of the body before they send what can wait.
const talk = document.querySelector(".talk[data-room]");
const feed = talk ?? document.querySelector(".feed");
const notice = document.getElementById("connection");
const patience = 2000;
let timer = 0;
let connection = null;

let leaving = false;

function leave(address) {
	if (!leaving) location.assign(address);
}

// signedOut asks whether the session is over. A page that asks while another one renews the
// session may be refused although it is not.
async function signedOut() {
	const answer = await fetch("/session", { method: "POST", headers: { "HX-Request": "true" } }).catch(() => null);
	return answer?.status === 401;
}

// ended: if the session is still good, it was the room that ended for us.
async function ended() {
	talk?.querySelector(".feed").remove(); // it would ask again, and be refused, before the next page is there
	if (await signedOut()) leave("/login");
	else if (talk) leave("/rooms?gone=1");
}

async function refused(status) {
	if (status === 401 && await signedOut()) leave("/login");
	if (status === 404 && talk) leave("/rooms?gone=1");
}

function down() {
	document.body.dataset.line = "down";
	timer ||= setTimeout(() => { notice.hidden = false; }, patience);
}

function up() {
	document.body.dataset.line = "up";
	clearTimeout(timer);
	timer = 0;
	notice.hidden = true;
}

if (feed) {
	// A plain form (log out, leave the room) has an answer of its own, which says more.
	window.addEventListener("submit", (event) => { leaving = !event.target.hasAttribute("hx-post"); });
	window.addEventListener("pageshow", () => { leaving = false; });
	feed.addEventListener("session-end", ended);
	feed.addEventListener("htmx:sse:error", (event) => refused(event.detail.status));
	feed.addEventListener("htmx:response:error", (event) => refused(event.detail.ctx.response.status));
	feed.addEventListener("htmx:sse:before:connection", (event) => { connection = event.detail.connection; down(); });
	feed.addEventListener("htmx:sse:after:connection", up);
	feed.addEventListener("htmx:sse:close", down);
	window.addEventListener("offline", down);
	window.addEventListener("online", () => {
		connection?.delayCanceller?.();
		connection?.reader?.cancel();
	});
	window.addEventListener("pagehide", () => clearTimeout(timer));
	down();
}
