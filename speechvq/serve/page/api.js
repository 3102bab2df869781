// Requests to the server; what it refuses is an Error whose message is a sentence.

export const GONE = "speechvq does not answer: is it still running in its terminal?";

export async function ask(address, options = {}) {
  let answer;
  try {
    answer = await fetch(address, options);
  } catch {
    throw new Error(GONE);
  }
  if (answer.ok) return answer;
  const body = await answer.json().catch(() => ({}));
  throw new Error(body.error ?? `speechvq answered with error ${answer.status}.`);
}

export const address = (key, what, voice = "") =>
  `/api/recordings/${key}/${what}` + (voice ? `?voice=${encodeURIComponent(voice)}` : "");
