import { Type } from 'typebox';
import type { CodeLocation, Version } from './artifact.ts';
import { ArtifactSpec, Code, HttpServer } from './artifact-spec.ts';
import { matches, type Problem, problemsOf } from './check.ts';
import { Name } from './names.ts';
import { innerPath } from './text.ts';

const { env, command, entry, dependsOn, secrets } = ArtifactSpec.properties;

const CodeTexts = Type.Object({ fileName: Type.Optional(innerPath()) });

/** The texts of a version that become arguments, variables, paths and requests. Loose: the rest may be of a later release. */
const Texts = Type.Object({
  spec: Type.Object({
    env,
    command,
    entry,
    dependsOn,
    secrets,
    code: Type.Optional(Type.Object({ image: Code.properties.image })),
    http: Type.Optional(Type.Object({ healthPath: HttpServer.properties.healthPath })),
  }),
  code: Type.Union([CodeTexts, Type.Null()]),
  layers: Type.Optional(Type.Array(Type.Object({ artifactId: Name, code: CodeTexts }))),
});

export type TextsOfVersion = Pick<Version, 'spec' | 'code' | 'layers'>;

/**
 * Lists the texts of a version that must not be used. Whoever starts something asks, because a version may have been stored by an
 * earlier release, which did not refuse it.
 */
export function versionTextProblems({ spec, code, layers }: TextsOfVersion): Problem[] {
  return problemsOf(Texts, { spec, code, ...(layers === undefined ? {} : { layers }) });
}

/** Whether the file of a version lies where its code lies. */
export function staysInside(code: CodeLocation): boolean {
  return matches(CodeTexts, code);
}
