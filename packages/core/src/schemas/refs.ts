/** The name of an artifact: its id is unique within its namespace. */
export interface ArtifactRef {
  readonly namespace: string;
  readonly artifactId: string;
}

/** The name of a task. Its id begins with that of its artifact. */
export interface TaskRef {
  readonly namespace: string;
  readonly taskId: string;
}

/** The name of a blob: the bytes of this digest as one namespace has them. */
export interface BlobRef {
  readonly namespace: string;
  readonly digest: string;
}
