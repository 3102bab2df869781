// Requests to the server; what it refuses is an Error whose message is a sentence.

export async function ask(address, options = {}) {
  let answer;
  try {
    answer = await fetch(address, options);
  } catch {
    throw new Error("speechvq does not answer: is it still running in its terminal?");
  }
  if (answer.ok) return answer;
  const body = await answer.json().catch(() => ({}));
  throw new Error(body.error ?? `speechvq answered with error ${answer.status}.`);
}

export const address = (key, what, voice = "") =>
  `/api/recordings/${key}/${what}` + (voice ? `?voice=${encodeURIComponent(voice)}` : "");
