import type { Call, RunnableVersion } from './runtime.ts';

/** The variables that a version gives its instances, those with secrets among them. */
export function variablesOf({ version, secrets }: RunnableVersion): Record<string, string> {
  return secrets === undefined ? version.spec.env : { ...version.spec.env, ...secrets.variables };
}

/** The environment of a command that runs once for one task: that of its version, and what the task is. */
export function taskEnvironment(runnable: RunnableVersion, call: Call): Record<string, string> {
  const { namespace, version } = runnable;
  return {
    ...variablesOf(runnable),
    PILUM_TASK_ID: call.taskId,
    PILUM_ARTIFACT_ID: version.artifactId,
    PILUM_VERSION: String(version.version),
    PILUM_NAMESPACE: namespace,
    PILUM_ATTEMPT: String(call.attempt),
    PILUM_DEADLINE_MS: String(call.deadlineMs),
    PILUM_CONTENT_TYPE: call.contentType.replaceAll('\0', ''),
    ...(call.http === null ? {} : { PILUM_HTTP_METHOD: call.http.method, PILUM_HTTP_URL: call.http.url }),
  };
}
