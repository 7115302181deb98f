;;; ingle-eglot-tests.el --- Beside Eglot, and on Eglot  -*- lexical-binding: t; -*-

;;; Commentary:

;; The daemon completes everything with "a + b".  INGLE_TEST_FAKE_SERVER is
;; a language server that only remembers documents and answers hovers.

;;; Code:

(require 'ingle-test)
(require 'ingle-test-eglot)

(defun ingle-test-fake-server ()
  "The command of the fake server."
  (split-string (getenv "INGLE_TEST_FAKE_SERVER") "\n"))

(ert-deftest ingle-test-beside-another-server ()
  (ingle-test-with-eglot (ingle-test-fake-server)
    (let ((server (eglot-current-server)))
      (ingle-test-type " ")
      (ingle-test-wait (equal (ingle-test-ghost) "a + b"))
      (should-not (eq (ingle--connection) server))
      (should (eq (ingle--connection) ingle--own))
      (ingle-test-keys "TAB")
      (should (equal (ingle-test-text) "def add(a, b):\n    return a + b\n"))
      ;; The other server has the same text, and still answers.
      (eglot--signal-textDocument/didChange)
      (should (equal (plist-get (jsonrpc-request server :fake/text
                                                 (eglot--TextDocumentIdentifier))
                                :text)
                     (ingle-test-text)))
      (should (jsonrpc-running-p server)))))

(ert-deftest ingle-test-ingle-lsp-as-the-eglot-server ()
  (ingle-test-with-eglot '("ingle-lsp")
    (let ((server (eglot-current-server)))
      (should (ingle--fact server :ready))
      (ingle-test-type " ")
      (ingle-test-wait (equal (ingle-test-ghost) "a + b"))
      (should (eq (ingle--connection) server))
      (should-not ingle--copy)
      (should (= 1 (length (ingle-test-sent "textDocument/didOpen"))))
      (ingle-test-type "a")
      (should (equal (ingle-test-ghost) " + b"))
      (ingle-test-keys "TAB")
      (should (equal (ingle-test-text) "def add(a, b):\n    return a + b\n"))
      (ingle-test-wait (ingle--status))
      (should (equal (plist-get (ingle--status) :model) "scripted"))
      (should (cl-find-if (lambda (params)
                            (equal 20000 (plist-get (plist-get (plist-get params :settings)
                                                               :ingle)
                                                    :deadlineMs)))
                          (ingle-test-sent "workspace/didChangeConfiguration"))))))

(ert-deftest ingle-test-positions-in-eglot-s-encoding ()
  (ingle-test-with-eglot '("ingle-lsp")
    (end-of-line)
    (insert " '😀' +")
    (ingle-test-type " ")
    (ingle-test-wait (equal (ingle-test-ghost) "a + b"))
    (let ((position (plist-get (car (last (ingle-test-sent "textDocument/inlineCompletion")))
                               :position)))
      (should (equal position
                     (list :line 1 :character
                           (if (ingle--utf-32-p (ingle--connection)) 17 18)))))))

(ert-deftest ingle-test-an-eglot-server-that-was-there-before-us-is-left-alone ()
  (ingle-test-with-eglot '("ingle-lsp")
    ;; As if Eglot had started it before `ingle' was loaded.
    (ingle--set-fact (eglot-current-server) :ready nil)
    (ingle-test-type " ")
    (ingle-test-wait (equal (ingle-test-ghost) "a + b"))
    (should (eq (ingle--connection) ingle--own))))

(ert-deftest ingle-test-the-end-of-the-eglot-server ()
  (ingle-test-with-eglot '("ingle-lsp")
    (ingle-test-type " ")
    (ingle-test-wait (equal (ingle-test-ghost) "a + b"))
    (eglot-shutdown (eglot-current-server))
    (ingle-test-keys "DEL")
    (ingle-test-type " ")
    ;; From now on over our own connection.
    (ingle-test-wait (equal (ingle-test-ghost) "a + b"))
    (should (eq (ingle--connection) ingle--own))
    (apply #'eglot--connect (eglot--guess-contact))
    (ingle-test-wait (eglot-managed-p))))

(provide 'ingle-eglot-tests)
;;; ingle-eglot-tests.el ends here
