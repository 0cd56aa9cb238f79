// Questions to the server. In: a path and perhaps a body. Out: the answer, or an Error with the server's reason.

export async function ask(path, body) {
  const answer = await fetch(path, body === undefined ? {} : {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
  });
  if (!answer.ok) {
    let why = answer.statusText;
    try { why = (await answer.json()).error; } catch { /* an answer without a reason: its status says all */ }
    const problem = new Error(why);
    problem.status = answer.status;
    throw problem;
  }
  return answer;
}

export const askJson = async (path, body) => (await ask(path, body)).json();
