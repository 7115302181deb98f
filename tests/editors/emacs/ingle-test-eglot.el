;;; ingle-test-eglot.el --- What tests with Eglot have in common  -*- lexical-binding: t; -*-

;;; Code:

(require 'ingle-test)
(require 'eglot)
(require 'flymake)

(setq eglot-sync-connect 10
      eglot-autoshutdown nil)

(defmacro ingle-test-with-eglot (command &rest body)
  "Run BODY in a Python file whose Eglot server is COMMAND.
Point is after \"return\", the last word of a function."
  (declare (indent 1))
  `(ingle-test-in "add.py" "def add(a, b):\n    return¦\n"
     (let ((eglot-server-programs (list (cons 'python-mode ,command))))
       (cl-letf (((symbol-function 'y-or-n-p) #'always))
         (apply #'eglot--connect (eglot--guess-contact))
         (ingle-test-wait (eglot-managed-p))
         (unwind-protect (progn ,@body)
           (eglot-shutdown (eglot-current-server)))))))

(provide 'ingle-test-eglot)
;;; ingle-test-eglot.el ends here
