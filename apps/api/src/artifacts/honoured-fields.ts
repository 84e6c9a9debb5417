import { ArtifactSpec, type ArtifactSpecInput } from '@pilum/core/schemas/artifact-spec.ts';
import { convert, type Problem } from '@pilum/core/schemas/check.ts';
import { LAYER_FIELDS, PROTOCOL_FIELDS, type ProtocolField, RUNTIME_FIELDS } from '@pilum/core/spec/fields.ts';
import { isHonouredBy, PROTOCOLS, type Protocol, protocolRow } from '@pilum/core/spec/protocols.ts';
import { type RuntimeKind, runtimeRow } from '@pilum/core/spec/runtimes.ts';

/** The spec that says nothing. */
const DEFAULTS = convert(ArtifactSpec, {});

/**
 * Lists what a spec asks for that its runtime or its protocol would ignore, as their tables say. A value that is the default asks
 * for nothing: whoever sends the spec of a version again sends all of them.
 */
export function ignoredFields(input: ArtifactSpecInput, runtime: RuntimeKind, protocol: Protocol): Problem[] {
  const problems: Problem[] = [];
  const { fields } = runtimeRow(runtime);
  for (const field of RUNTIME_FIELDS) {
    const honoured = fields[field];
    if (honoured === true || !isAsked(input, field)) continue;
    problems.push({ where: pointerTo(field), what: `is not for runtime ${runtime}: ${honoured}` });
  }
  for (const field of PROTOCOL_FIELDS) {
    if (isHonouredBy(protocol, field) || !isAsked(input, field)) continue;
    problems.push({ where: pointerTo(field), what: `is for ${havingProtocols(field)}, not for ${protocol}` });
  }
  return problems;
}

/** Lists the fields of a layer's spec that are not for layers, each with the reason. */
export function fieldsOfNoLayer(input: ArtifactSpecInput): Problem[] {
  const others = Object.keys(input).filter((name) => !(LAYER_FIELDS as readonly string[]).includes(name));
  return others.map((name) => {
    const why = name === 'dependsOn' ? 'depends on no other layer' : 'runs nothing: it has code, entry and labels';
    return { where: `/body/${name}`, what: `is not for a layer, which ${why}` };
  });
}

function isAsked(input: ArtifactSpecInput, field: string): boolean {
  const value = at(input, field);
  return value !== undefined && JSON.stringify(value) !== JSON.stringify(at(DEFAULTS, field));
}

function at(value: unknown, field: string): unknown {
  return field.split('.').reduce((inner, name) => (inner as Record<string, unknown> | undefined)?.[name], value);
}

const pointerTo = (field: string) => `/body/${field.replace('.', '/')}`;

function havingProtocols(field: ProtocolField): string {
  const having = PROTOCOLS.filter((name) => protocolRow(name).isBuilt && isHonouredBy(name, field));
  // To a module a command is what it is given, and so it is of no help to whoever has none.
  const names = field === 'command' ? having.filter((name) => protocolRow(name).runs === 'command') : having;
  return names.length === 1 ? `protocol ${names[0]}` : `protocols ${names.join(' and ')}`;
}
