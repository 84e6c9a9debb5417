import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { connect, rootCertificates } from 'node:tls';

const REGISTRY = 'registry.npmjs.org';

/**
 * The certificate that this machine's way to the npm registry is signed with, where that is not one which everybody
 * knows: a proxy's. An image that is built here has to be told of it.
 */
export async function registryCertificate(): Promise<string | null> {
  const socket = connect({ host: REGISTRY, port: 443, servername: REGISTRY });
  try {
    await once(socket, 'secureConnect', { signal: AbortSignal.timeout(15_000) });
    let certificate = socket.getPeerCertificate(true);
    for (let issuer = certificate.issuerCertificate; issuer && issuer !== certificate; ) {
      certificate = issuer;
      issuer = certificate.issuerCertificate;
    }
    const root = new X509Certificate(certificate.raw);
    const isKnown = rootCertificates.some((pem) => new X509Certificate(pem).fingerprint256 === root.fingerprint256);
    return isKnown ? null : root.toString();
  } finally {
    socket.destroy();
  }
}
