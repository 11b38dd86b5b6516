// Prints every text of the interface in its three languages, and whatever stands in a page without being one of them.
// {texts: [{where, en, es, pt}], bare: [{where, text}]}, for a test to judge.
import { readFileSync, readdirSync } from 'node:fs';
import { join, relative } from 'node:path';
import { parse } from 'svelte/compiler';
import ts from 'typescript';

const root = new URL('../src/', import.meta.url).pathname;
const files = readdirSync(root, { recursive: true }).map(String);
const texts = [];
const bare = [];

/** Path of keys -> source text, for all leaves of an object literal. */
function leaves(node, source, path = [], found = new Map()) {
  for (const property of node.properties) {
    if (!ts.isPropertyAssignment(property)) continue;
    const name = [...path, property.name.text];
    let value = property.initializer;
    while (ts.isAsExpression(value) || ts.isSatisfiesExpression(value) || ts.isParenthesizedExpression(value)) value = value.expression;
    if (ts.isObjectLiteralExpression(value)) leaves(value, source, name, found);
    else found.set(name.join('.'), ts.isStringLiteralLike(value) ? value.text : value.getText(source));
  }
  return found;
}

function collect(where, languages) {
  const keys = new Set(Object.values(languages).flatMap((each) => [...each.keys()]));
  for (const key of keys) texts.push({ where: `${where}: ${key}`, en: languages.en?.get(key), es: languages.es?.get(key), pt: languages.pt?.get(key) });
}

const sourceOf = (file) => ts.createSourceFile(file, readFileSync(join(root, file), 'utf8'), ts.ScriptTarget.Latest, true);

// The words of the shell are a file for each language.
const shell = {};
for (const code of ['en', 'es', 'pt']) {
  const source = sourceOf(`words/${code}.ts`);
  source.forEachChild(function look(node) {
    if (ts.isVariableDeclaration(node) && node.name.getText(source) === code && ts.isObjectLiteralExpression(node.initializer)) shell[code] = leaves(node.initializer, source);
    else node.forEachChild(look);
  });
}
collect('words', shell);

for (const file of files.filter((name) => name.endsWith('.ts'))) {
  const source = sourceOf(file);
  source.forEachChild(function look(node) {
    if (ts.isCallExpression(node) && node.expression.getText(source) === 'area' && node.arguments[0] && ts.isObjectLiteralExpression(node.arguments[0])) {
      const languages = {};
      for (const property of node.arguments[0].properties) {
        let value = property.initializer;
        if (ts.isPropertyAssignment(property) && ts.isIdentifier(value)) {
          // The languages may be constants of the same file.
          source.forEachChild(function seek(other) {
            if (ts.isVariableDeclaration(other) && other.name.getText(source) === property.initializer.getText(source)) value = other.initializer;
            else other.forEachChild(seek);
          });
        }
        if (ts.isObjectLiteralExpression(value)) languages[property.name.text] = leaves(value, source);
      }
      collect(file, languages);
    } else node.forEachChild(look);
  });
}

const READ_OUT = new Set(['aria-label', 'title', 'placeholder', 'alt', 'label', 'lead', 'text', 'hint']);
const LETTERS = /\p{L}{2,}/u;
for (const file of files.filter((name) => name.endsWith('.svelte'))) {
  const source = readFileSync(join(root, file), 'utf8');
  const { fragment } = parse(source, { modern: true });
  (function look(node) {
    if (!node || typeof node !== 'object') return;
    if (Array.isArray(node)) return node.forEach(look);
    // Code samples and names of things are the same in every language.
    if (node.type === 'RegularElement' && ['code', 'pre', 'kbd', 'style', 'script'].includes(node.name)) return;
    if (node.type === 'Text' && LETTERS.test(node.data)) bare.push({ where: relative('.', file), text: node.data.trim() });
    if (node.type === 'Attribute') {
      const parts = Array.isArray(node.value) ? node.value : [];
      if (READ_OUT.has(node.name)) for (const part of parts) if (part.type === 'Text' && LETTERS.test(part.data)) bare.push({ where: file, text: part.data });
      return;
    }
    for (const key of ['nodes', 'fragment', 'attributes', 'body', 'consequent', 'alternate', 'fallback', 'pending', 'then', 'catch']) look(node[key]);
  })(fragment);
}

process.stdout.write(JSON.stringify({ texts, bare }));
