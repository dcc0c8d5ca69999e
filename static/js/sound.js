// The sound of a new message: two soft tones, a sixth of a second in all.
const length = 0.08; // seconds
const loud = 0.05;
let sound;

function tone(pitch, at) {
	const source = sound.createOscillator(), volume = sound.createGain();
	source.frequency.value = pitch;
	volume.gain.setValueAtTime(0, at);
	volume.gain.linearRampToValueAtTime(loud, at + length / 8);
	volume.gain.linearRampToValueAtTime(0, at + length);
	source.connect(volume).connect(sound.destination);
	source.start(at);
	source.stop(at + length);
	return source;
}

document.addEventListener("ring", async () => {
	sound ??= new AudioContext();
	await sound.resume();
	tone(660, sound.currentTime);
	tone(880, sound.currentTime + length).addEventListener("ended", () => sound.suspend());
});
