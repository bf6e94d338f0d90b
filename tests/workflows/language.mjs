// Copyright (c) 2026, the vtchat.maintenance authors
// GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// GitHub's parser of workflows and its evaluator of expressions as a service: a JSON document a line in, one a line out.
// language.py starts it in the folder that holds node_modules, and says what the requests are.

import {register} from "node:module";
import {createInterface} from "node:readline";
import {pathToFileURL} from "node:url";

// The packages import JSON as bundlers take it; Node wants to be told the type.
const hook = `export async function load(url, context, next) {
  if (url.endsWith(".json")) context = {...context, importAttributes: {...context.importAttributes, type: "json"}};
  return next(url, context);
}`;
register("data:text/javascript," + encodeURIComponent(hook));

const here = pathToFileURL(process.cwd() + "/");
const from = (name) => import(new URL(`node_modules/${name}`, here).href);
const expressions = await from("@actions/expressions/dist/index.js");
const {reviver} = await from("@actions/expressions/dist/data/reviver.js");
const {replacer} = await from("@actions/expressions/dist/data/replacer.js");
const parser = await from("@actions/workflow-parser/dist/index.js");
const {TokenType} = await from("@actions/workflow-parser/dist/templates/tokens/types.js");
const {isReusableWorkflowJob} = await from("@actions/workflow-parser/dist/model/type-guards.js");
const language = await from("@actions/languageservice/dist/validate.js");
const {TextDocument} = await from("vscode-languageserver-textdocument/lib/esm/main.js");

const CONTEXTS = ["github", "inputs", "vars", "secrets", "needs", "strategy", "matrix", "steps", "job", "jobs", "runner", "env"];
const STATUS = ["success", "failure", "cancelled", "always"];

// What stands in the file: literals as they are, expressions as {"$": text}.
function plain(token) {
  switch (token.templateTokenType) {
    case TokenType.Sequence:
      return [...Array(token.count).keys()].map((index) => plain(token.get(index)));
    case TokenType.Mapping:
      return Object.fromEntries([...token].map((pair) => [pair.key.toString(), plain(pair.value)]));
    case TokenType.BasicExpression:
      return {$: token.expression};
    case TokenType.InsertExpression:
      throw new Error("insert expressions are not used here");
    case TokenType.Null:
      return null;
    default:
      return token.value;
  }
}

function conditions(job) {
  const steps = (job.steps ?? []).map((step) => ({id: step.id, if: step.if.expression}));
  return {id: job.id.value, if: job.if.expression, steps};
}

async function parse({path, files}) {
  const name = path;
  const result = parser.parseWorkflow({name, content: files[name]}, new parser.NoOperationTraceWriter());
  const errors = () => result.context.errors.getErrors().map((error) => error.message);
  if (!result.value) return {errors: errors()};
  const provider = {getFileContent: async (reference) => {
    const wanted = "repository" in reference ? `${reference.owner}/${reference.repository}/${reference.path}` : reference.path;
    if (!(wanted in files)) throw new Error(`there is no ${wanted}`);
    return {name: wanted, content: files[wanted]};
  }};
  const options = {fetchReusableWorkflowDepth: 1};
  const template = await parser.convertWorkflowTemplate(result.context, result.value, provider, options);
  if (errors().length) return {errors: errors()};
  const jobs = template.jobs.map((job) => ({...conditions(job), calls: isReusableWorkflowJob(job)}));
  return {errors: [], tree: plain(result.value), jobs, schedule: template.events.schedule ?? []};
}

async function diagnose({path, files}) {
  const provider = {getFileContent: async (reference) => ({name: reference.path, content: files[reference.path]})};
  const document = TextDocument.create(pathToFileURL(`/${path}`).href, "yaml", 1, files[path]);
  const found = await language.validate(document, {fileProvider: provider});
  return found.map((one) => `${path}:${one.range.start.line + 1}: ${one.message}`);
}

function resolved(value, context, functions) {
  if (Array.isArray(value)) return value.map((one) => resolved(one, context, functions));
  if (value === null || typeof value !== "object") return value;
  if (typeof value.$ !== "string") {
    return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, resolved(one, context, functions)]));
  }
  const {tokens} = new expressions.Lexer(value.$).lex();
  const tree = new expressions.Parser(tokens, CONTEXTS, functions).parse();
  const known = new Map(functions.map((one) => [one.name, one]));
  return JSON.parse(JSON.stringify(new expressions.Evaluator(tree, context, known).evaluate(), replacer));
}

function evaluate({value, context, status}) {
  const given = JSON.parse(JSON.stringify({...Object.fromEntries(CONTEXTS.map((name) => [name, null])), ...context}), reviver);
  const functions = STATUS.map((name) => ({
    name, minArgs: 0, maxArgs: 0,
    call: () => {
      if (!(name in status)) throw new Error(`${name}() has no meaning here`);
      return new expressions.data.BooleanData(status[name]);
    },
  }));
  return resolved(value, given, functions);
}

const operations = {parse, diagnose, evaluate};
for await (const line of createInterface({input: process.stdin})) {
  const {operation, ...request} = JSON.parse(line);
  let answer;
  try {
    answer = {value: await operations[operation](request)};
  } catch (error) {
    answer = {error: `${error.message ?? error}`};
  }
  process.stdout.write(JSON.stringify(answer) + "\n");
}
