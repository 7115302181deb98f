;;; ingle-eglot-actions-tests.el --- Changes and chat on Eglot  -*- lexical-binding: t; -*-

;;; Commentary:

;; The daemon's answer to everything is a function `add' in a code block.

;;; Code:

(require 'ingle-test-eglot)
(require 'ingle-actions)
(require 'ingle-chat)

(ert-deftest ingle-test-an-edit-that-eglot-applies ()
  (ingle-test-with-eglot '("ingle-lsp")
    (insert " a - b")
    (ingle-refactor "make it a sum")
    (ingle-test-wait (equal (ingle-test-text) "def add(a, b):\n    return a + b\n"))
    (ingle-test-wait (string-match-p "done" ingle--last-message))
    (should-not ingle--copy)
    (should (eq (ingle--connection) (eglot-current-server)))))

(ert-deftest ingle-test-an-explanation-over-eglot ()
  (ingle-test-with-eglot '("ingle-lsp")
    (ingle-explain)
    (ingle-test-wait (get-buffer "*ingle explanation*"))
    (with-current-buffer "*ingle explanation*"
      (should (string-match-p "return a \\+ b" (buffer-string))))
    (kill-buffer "*ingle explanation*")))

(ert-deftest ingle-test-a-chat-over-eglot ()
  (ingle-test-with-eglot '("ingle-lsp")
    (let ((source (current-buffer)))
      (ingle-chat '(4))
      (goto-char (point-max))
      (insert "What is wrong?")
      (ingle-test-keys "RET")
      (ingle-test-wait ingle-chat--pending)
      (should (eq (plist-get ingle-chat--pending :connection)
                  (with-current-buffer source (eglot-current-server))))
      (ingle-test-wait (not ingle-chat--pending))
      (should (string-match-p "return a \\+ b\n```\n\\[apply\\]" (ingle-test-text)))
      (ingle-chat-apply)
      (with-current-buffer source
        (ingle-test-wait (equal (ingle-test-text) "def add(a, b):\n    return a + b\n")))
      (kill-buffer)
      (switch-to-buffer source))))

(ert-deftest ingle-test-eglot-offers-the-same-changes ()
  (ingle-test-with-eglot '("ingle-lsp")
    (let ((actions (jsonrpc-request
                    (eglot-current-server) :textDocument/codeAction
                    (list :textDocument (eglot--TextDocumentIdentifier)
                          :range (list :start (eglot--pos-to-lsp-position)
                                       :end (eglot--pos-to-lsp-position))
                          :context '(:diagnostics [])))))
      (should (cl-find "Document" actions :key (lambda (action) (plist-get action :title))
                       :test #'equal)))))

(provide 'ingle-eglot-actions-tests)
;;; ingle-eglot-actions-tests.el ends here
